"""Alert rules: one file for each page of runbooks. Pure."""
