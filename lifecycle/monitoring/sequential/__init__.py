"""Evidence that may be looked at any number of times: whether what comes now is from the distribution of a reference sample. Pure."""
