"""`vedette stream`: events from Kafka, verdicts into Kafka."""
