"""`vedette keys` and `vedette access`: callers of the doors, and their rights."""
