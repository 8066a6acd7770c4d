"""A report on performance as a page and as a record. Pure."""
