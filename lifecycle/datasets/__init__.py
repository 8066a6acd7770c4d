"""A detector's declaration, its rows and their parts."""
