"""The page Service of the console."""
