"""Spans of a stream: which trace a batch is dealt with in, and what the messages about it carry on."""
