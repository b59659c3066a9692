"""Which choice was worth it: runs beside each other, by their errors on the validation set and by what they cost.

`rows` is what is known of a run and where that is found on disk, `runs` finds runs by id, name or folder, `statistics` are the means, the
Pareto front and the importance of each choice, `figure` draws them, and `page` is the table in its forms and the report.
"""
