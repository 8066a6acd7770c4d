"""`vedette rollout` and `vedette experiment`."""
