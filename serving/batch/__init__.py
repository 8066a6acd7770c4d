"""BATCH: Parquet in, verdicts as Parquet out. The same Scorer as behind the doors, asked for many rows at once.

`plan` cuts the input into units of time (core), `unit_scorer` scores one, `output` commits it and knows what is done, `job` runs them
here, `ray_data` on a Ray cluster, `spark` is for Spark's own workers. What the model's columns are called in the data says `source`."""
