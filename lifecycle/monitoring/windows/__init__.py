"""Windows of the prediction log: what was answered, by row and column."""
