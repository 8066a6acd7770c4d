"""Why a model answered as it did: what each column added to a score, and what would have changed it. No loop, no door, no words."""
