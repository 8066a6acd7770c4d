"""Protection from overload and failing dependencies: breakers, admission, deadlines, bulkheads, retries."""
