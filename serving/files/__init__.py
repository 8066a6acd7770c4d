"""Files on the disk: read within bounds, replaced whole, synced, locked, and read again by another release."""
