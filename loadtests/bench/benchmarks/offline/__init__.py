"""Work on files, without a server."""
