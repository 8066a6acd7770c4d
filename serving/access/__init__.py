"""Authentication and authorization at the doors: who the caller is, and what it may do."""
