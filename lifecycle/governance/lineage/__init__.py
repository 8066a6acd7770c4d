"""Lineage: from the data to the answers, and back."""
