"""The trusted authorities of Vedette's TLS clients: one context for all places and all versions of Python. Servers have their own
(`serving.doors.tls`)."""

import ssl
from os import PathLike


def client_trust(authorities: str | PathLike[str] | None = None) -> ssl.SSLContext:
    """A context that verifies the server's certificate and its name, TLS 1.2 or newer.

    authorities: PEM file of those that are trusted; None: the machine's, or those of the file that SSL_CERT_FILE names. From Python 3.13 on
    ssl also refuses authorities that lack an extension of RFC 5280, as many private ones do. That is off here, as it is before 3.13.
    Raises OSError (ssl.SSLError is one) for a file that cannot be used."""
    context = ssl.create_default_context(cafile=None if authorities is None else str(authorities))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
