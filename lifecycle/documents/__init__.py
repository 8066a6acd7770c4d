"""Documents that people read: sections, tables and charts, and how they are written."""
