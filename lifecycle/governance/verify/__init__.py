"""Verifies chained logs and proves single records. The judges are pure: they take bytes and notes, and give findings."""
