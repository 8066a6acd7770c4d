"""What is watched, what was last seen, and when which service is looked at."""
