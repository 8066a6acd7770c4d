"""A/B experiments: their variants, the rules that move them, and the report of who won. Pure."""
