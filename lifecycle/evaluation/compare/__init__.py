"""Two bundles on the same rows: paired tests, and both at equal alert budget."""
