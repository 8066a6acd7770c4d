"""KINESIS: the ports of a stream worker by boto3. Shards are partitions, their owners and positions are leases in a DynamoDB table.

At least once: Kinesis has no transactions, so this is the mode `low_latency`. It keeps no changelog (`StateLog`): an item of DynamoDB holds
less than a part of a snapshot. `account` reaches AWS, `leases` decides who owns what (pure), `lease_table` keeps it, `source` reads,
`outputs` writes, `frames` carries headers, which Kinesis does not have."""
