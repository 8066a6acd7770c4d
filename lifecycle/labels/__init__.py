"""What analysts said of answers: labels, their chained log, what to label next, and the counts that rollouts judge by. No Ray Serve."""
