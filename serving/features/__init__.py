"""Online features behind the FeatureReader port: a feature service compiled to a plan, run against a store.

open.py wires. definitions, keys, values, plan and computed are the core; redis, sqlite and http are stores; feast reads the registry."""
