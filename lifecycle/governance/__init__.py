"""Accounts for answers and acts: verification, replay, archive, registry, lineage, approvals, reports. No Ray Serve."""
