"""Windows of the prediction log: the recorded answers, by row and column."""
