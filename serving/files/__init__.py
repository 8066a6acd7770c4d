"""Files on the disk: read within bounds, replaced whole, synced, locked; and the files by which running replicas are known."""
