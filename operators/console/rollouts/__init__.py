"""The page Rollouts of the console."""
