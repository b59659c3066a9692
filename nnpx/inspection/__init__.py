"""Looking at experiments without running them: where values come from, what they mean, how two differ, what an editor may write.

Nothing here imports a noun: classes are read from their source (`nnpx.configuration.signatures`), so every answer takes a moment.
"""
