"""Training: from a loss on labelled structures to the parameters of a potential.

`nnpx.trainer.loop.Trainer` is the loop, `nnpx.trainer.state` what a checkpoint holds. Resuming from a checkpoint continues bit for bit on
a CPU.
"""
