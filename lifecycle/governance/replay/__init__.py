"""Answers again, from their records and bundles, and the comparison with what was answered. No Ray, no feature is read."""
