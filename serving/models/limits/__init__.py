"""Limits of bundles: what a graph may do, and what it may take."""
