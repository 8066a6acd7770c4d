"""How labels come in from programs: the HTTP door and the Kafka topic. No replica has a part in it."""
