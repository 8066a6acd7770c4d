"""Anchors: places outside the log that keep its checkpoints, so that the log cannot be rolled back or replaced unseen."""
