"""`vedette rules`."""
