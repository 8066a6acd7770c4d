"""What keeps the tail short and the server standing: breakers, admission, deadlines, bulkheads, retries, the prediction cache."""
