"""Personal data in records: redacted or encrypted before a record is hashed, and erased by destroying a key."""
