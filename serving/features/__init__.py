"""Online features behind the FeatureReader port: a feature service compiled to a plan, run against a store.

`opening` wires the parts. `plan` is the core and reads the registry; `stores` has the adapters of Redis, SQLite and HTTP servers."""
