"""TLS at both doors: certificates that are read again when they change, handshakes within limits, and the encrypted transport."""
