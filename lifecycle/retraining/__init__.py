"""When a model is trained again, on what, and whether the new one may replace the old. Nothing is replaced here but by a rollout."""
