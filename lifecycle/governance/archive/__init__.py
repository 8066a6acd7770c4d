"""The prediction log over years: Parquet of finished segments, retention, legal holds, erasure, and SQL over all of it."""
