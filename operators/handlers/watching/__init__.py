"""Watches resources, caches them, and schedules looks at services."""
