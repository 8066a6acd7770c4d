"""Loading of revisions: which should be served (served.json), and how they are loaded, warmed up and swapped."""
