"""CODECS: a record's bytes to an event, and events to the columns that a model takes. Whatever is wrong becomes a reason, not an exception.

`codec` is the port, `json_codec`, `avro_codec` and `protobuf_codec` are behind it; `columns` is the same for all of them. Where records
come from and where verdicts go is of no matter here."""
