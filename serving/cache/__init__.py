"""Predictions that were made before: their key, who keeps them, and when they are used again."""
