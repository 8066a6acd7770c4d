"""Migrations of a store from one layout to the next. What the layouts are is in docs/reference/compatibility.md."""
