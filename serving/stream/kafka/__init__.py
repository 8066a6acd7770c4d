"""KAFKA: the ports of a stream worker by confluent-kafka (librdkafka). The one room of streams that imports it.

`cluster` says how brokers are reached, `source` reads as a member of a consumer group, `transactional` and `idempotent` write,
`state_log` reads a changelog, `topics` makes topics and compares them."""
