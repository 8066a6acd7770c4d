"""What to label next: random samples whose probabilities are known, and the rows whose labels teach most. Pure."""
