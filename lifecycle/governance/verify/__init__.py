"""Verifies chained logs, proves single records, packs what an auditor takes away. The judges are pure: bytes and notes in, findings out."""
