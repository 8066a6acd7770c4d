"""`vedette batch`: Parquet in, verdicts as Parquet out."""
