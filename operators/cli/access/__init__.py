"""`vedette keys` and `vedette access`: who may ask the doors, for what."""
