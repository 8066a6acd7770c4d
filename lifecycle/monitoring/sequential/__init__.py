"""Sequential tests whether new rows are from the distribution of a reference sample. They are valid at every look. Pure."""
