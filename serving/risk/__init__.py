"""RISK: one figure for an entity from the signals of streams, batch jobs, rules and analysts, with its parts.

`signal` is what comes in, `entity_record` what is kept of it, `assess` the figure (pure). `ledger` is the port of the store, with SQLite
and Redis behind it. Nothing here scores an event: signals are verdicts that were given and recorded elsewhere."""
