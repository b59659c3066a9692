"""What stands behind `nnpx.config`: options are found and composed, words are understood, and everything is checked before anything runs.

resolvers, option_files         where options lie, and what is wrong with their files
overrides, hydra_words          the words of a command line, and Hydra's own part of them
interpolations, guard           ${…} resolved; what a file may not say to Hydra
annotations, signatures         what a constructor takes, read from its source without importing it
targets, schema, places         the classes that may be named, every problem of an experiment, and where a key belongs
launchers                       what runs the jobs of a sweep
"""
