"""Bundles, training, evaluation, scoring and features from the command line."""
