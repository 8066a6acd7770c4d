"""The prediction log over years: finished segments as Parquet, retention, legal holds, erasure, and SQL over all of it."""
