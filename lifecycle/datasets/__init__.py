"""A detector's declaration, its rows and their parts: what is learned from."""
