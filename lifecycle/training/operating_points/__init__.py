"""Thresholds that keep what their scenario asks for, with a stated confidence."""
