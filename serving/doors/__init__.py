"""The doors: bytes of a client in, bytes out. They know serving.ports and nothing behind it."""
