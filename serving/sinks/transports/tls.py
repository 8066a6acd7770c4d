"""TLS of the transports: certificates are always verified."""

import ssl
from pathlib import Path

from serving.sinks.errors import SinkConfigError
from serving.tls_trust import client_trust


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """A context of a client. Raises SinkConfigError."""
    named = ", ".join(str(path) for path in (ca, certificate, key) if path is not None)
    try:
        context = client_trust(ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as problem:
        raise SinkConfigError(f"{named}: TLS cannot be set up: {problem}") from problem
    return context
