"""What batch jobs know from training: how the columns of a bundle are called in its data."""
