"""HTTP/1.1: the listener, its connections, and the HTTP side of the protocols."""
