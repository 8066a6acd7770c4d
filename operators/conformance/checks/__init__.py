"""The checks, by group; `catalogue.ALL` is the whole list in the order it is run."""
