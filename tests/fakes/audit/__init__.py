"""Logs as honest writers leave them, and what attackers do to them."""
