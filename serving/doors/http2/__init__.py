"""HTTP/2 as bytes and streams, for gRPC (RFC 9113, RFC 7541)."""
