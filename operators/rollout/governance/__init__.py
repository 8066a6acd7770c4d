"""Approvals within a rollout, and what each move leaves in the log of governed acts. Pure."""
