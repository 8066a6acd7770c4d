"""The input: where its files are, what is in them and when, and their columns as the model takes them."""
