"""Reproduction: a recorded training is made again from its commit, its data and its configuration, and compared with what was recorded.

`recorded` finds what is known of it, `place` builds a folder in which it can run, `verdict` compares. Nothing of the project changes: the
folder is a git worktree of its own in `.nnpx/reproduce/`.
"""
