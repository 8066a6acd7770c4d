"""What is told of an answer besides the answer: its records."""
