"""Loading of revisions: how they are loaded, warmed up and swapped."""
