"""Evidence: makes models and keeps them true. No Ray Serve."""
