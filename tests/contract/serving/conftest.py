"""Feast as the lifecycle imports it, before a test module does."""

from feature_repo import quick_feast

quick_feast.load()
