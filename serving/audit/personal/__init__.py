"""What records say about people: redacted or encrypted before a record is hashed, and erased by destroying a key."""
