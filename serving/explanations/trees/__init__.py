"""Sums of decision trees: how a graph computes its score by them, and their Shapley values. Imports nothing of its own room."""
