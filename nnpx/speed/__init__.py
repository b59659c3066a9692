"""What makes it fast and changes no result beyond rounding: nothing here knows physics.

loops, compiled, pair_loops     loops over neighbours that are compiled for the processor, as operations of torch
threads                         work shared among threads
recording, cuda_graph           operations that are repeated again and again, recorded once
memory                          what is freed is kept for the next time
"""
