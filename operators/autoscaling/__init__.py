"""Autoscaling, pure: how many replicas, between which bounds, and why. Acts on nothing; see operators.backends for that."""
