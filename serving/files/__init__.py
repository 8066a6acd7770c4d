"""Files on the disk: bounded reads, safe YAML, whole writes, syncs, locks, and the files by which running replicas are known."""
