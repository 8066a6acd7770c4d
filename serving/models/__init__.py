"""Bundles (models as they are shipped) and the sessions that run them."""
