"""Who must approve what, and whether they did: people, signed approvals, rules. The core is pure; desk.py reads and records."""
