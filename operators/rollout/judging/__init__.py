"""What the evidence of a rollout says: e-processes, gates, verdicts. Pure."""
