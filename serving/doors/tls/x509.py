"""The validity of certificates, and the client that one names. Only this module of the doors uses cryptography.

Trust is not decided here: OpenSSL has verified a client's certificate before `peer_certificate` reads it."""

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from serving.access.credentials import PeerCertificate


def expires_at(pem: bytes) -> datetime:
    """When the first of these certificates to expire does so. Raises ValueError if there is no certificate."""
    return min(certificate.not_valid_after_utc for certificate in x509.load_pem_x509_certificates(pem))


def peer_certificate(der: bytes) -> PeerCertificate:
    """A verified client certificate as the value that access control reads. Raises ValueError if it cannot be read."""
    certificate = x509.load_der_x509_certificate(der)
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        pass
    else:
        names = extension.value
        if isinstance(names, x509.SubjectAlternativeName):
            dns_names = tuple(names.get_values_for_type(x509.DNSName))
            uris = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
    expires_s = certificate.not_valid_after_utc.timestamp()
    return PeerCertificate(certificate.subject.rfc4514_string(), dns_names, uris, hashlib.sha256(der).hexdigest(), expires_s)
