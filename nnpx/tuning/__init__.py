"""The search for better choices: which overrides of an experiment make its errors, or its costs, smallest.

A search is declared in `conf/tune/*.yaml`: the space of overrides, the objectives (the outcome of `nnpx train`), a sampler that proposes,
a pruner that stops trials without prospects, and a budget. Every trial is an ordinary training in a folder of its own. Optuna proposes and
remembers (ask and tell), in a file of the study's folder: the same command goes on where a search was left.
"""
