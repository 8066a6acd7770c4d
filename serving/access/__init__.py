"""Who asks at the doors, and what they may do."""
