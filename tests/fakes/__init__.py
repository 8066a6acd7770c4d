"""Stand-ins that keep state and pass the same contract tests as the real adapters."""
