"""Scoring one unit: its features, its requests, its rows of the output."""
