"""Data tests: rows of a file against the detector's declaration. Bad rows are set aside with their reason, never lost."""
