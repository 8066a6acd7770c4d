"""RISK: one figure for an entity out of what the stream, the batch jobs, the rules and analysts say of it, with its parts shown.

`signal` is what comes in, `entity_record` what is kept of it, `assess` the figure (pure). `ledger` is the port of the store, with SQLite
and Redis behind it. Nothing here scores an event: signals are verdicts that were given and recorded elsewhere."""
