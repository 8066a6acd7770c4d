"""Recomputes answers from their records and bundles, and compares them with what was answered. No Ray; no feature store is read."""
