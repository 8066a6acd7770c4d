"""Explanations in words that an analyst reads: reasons, where a value stands among the training rows, counterfactuals. Pure."""
