"""STREAM: events from a topic, verdicts into topics. The same Scorer as behind the doors, asked for many rows at once.

`ports` says what a stream is read from and written to, `contract` what the messages look like; `kafka/` is an adapter of the ports."""
