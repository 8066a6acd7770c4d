"""WINDOWS: features of entities counted from the stream itself, in event time. A pure core, one engine a partition.

`engine` counts, `entity` and `distinct` are what it keeps, `matching` says which values a share counts; no broker, clock or store."""
