"""How far a prediction may be off: what the spread of an ensemble says of it, and measures of how good that statement is."""
