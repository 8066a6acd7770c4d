"""What a feature service reads and how values become columns, worked out once."""
