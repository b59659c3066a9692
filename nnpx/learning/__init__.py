"""Learning: how a potential finds its own training data.

    data ─ train ─▶ ensemble ─ walkers ─▶ candidates ─ acquisition ─▶ batch ─ reference ─▶ labels ─▶ data of the next round

The contract. An option says what walks, how labels are checked, how the next potential is trained, and when it is enough; what is chosen
from what was met is the noun `acquisition`. Every random number follows from the seed of the experiment, the number of the
round and that of the walker, and every phase of a round ends in files and one line of the journal: killed at any moment and started again
with the same command, a loop ends where it would have ended.
"""
