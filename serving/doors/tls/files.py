"""The PEM files of a door's TLS, and the OpenSSL contexts made of them.

The files are read as a whole before OpenSSL sees them, so that a pair which is replaced meanwhile is never mixed, and the key is handed
over in memory. serving.doors.tls.certificates reads them again when they change."""

import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from serving.doors.tls.x509 import expires_at
from serving.files.bounded_files import read_bounded

ClientCertificates = Literal["off", "optional", "required"]
"""Whether clients are asked for a certificate: not at all, or they may show one, or they must."""
HTTP1: Final = "http/1.1"
HTTP2: Final = "h2"
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption only, which is also what HTTP/2 permits (RFC 9113, 9.2.2). TLS 1.3 has no
others."""
_MOST_BYTES: Final = 1 << 20
"""Of each file."""
_VERIFY: Final = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class TlsError(Exception):
    """The TLS files cannot be used; the message says which, why, and the way out."""


class TlsFilesAway(TlsError):
    """They cannot be read now, whatever they hold."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the PEM files are. client_ca: the certificates that may sign those of clients; None if clients are asked for none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client: ClientCertificates = "off"


@dataclass(frozen=True, slots=True)
class TlsBytes:
    """The files' content at one time. digest: equal for equal content."""

    certificate: bytes
    key: bytes
    client_ca: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """One server context for each protocol, and when the certificates end."""

    http1: ssl.SSLContext
    http2: ssl.SSLContext
    expires: datetime
    client_ca_expires: datetime | None


def read(files: TlsFiles) -> TlsBytes:
    """The content of the files. Raises TlsError."""
    parts = [_content(files.certificate, "TLS_CERT"), _content(files.key, "TLS_KEY")]
    parts.append(b"" if files.client_ca is None else _content(files.client_ca, "TLS_CLIENT_CA"))
    digest = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    return TlsBytes(parts[0], parts[1], parts[2], digest)


def open_contexts(files: TlsFiles, content: TlsBytes) -> TlsContexts:
    """The contexts of this content. Raises TlsError if a file is not PEM, or the key does not belong to the certificate."""
    try:
        expires = expires_at(content.certificate)
    except ValueError as problem:
        raise TlsError(
            f"{files.certificate}: is not a certificate in PEM form ({problem}); VEDETTE_TLS_CERT is the server's certificate chain"
        ) from problem
    client_ca_expires = None
    if content.client_ca:
        try:
            client_ca_expires = expires_at(content.client_ca)
        except ValueError as problem:
            raise TlsError(
                f"{files.client_ca}: is not a list of certificates in PEM form ({problem}); VEDETTE_TLS_CLIENT_CA has the certificates "
                "that may sign those of clients"
            ) from problem
    return TlsContexts(_context(files, content, HTTP1), _context(files, content, HTTP2), expires, client_ca_expires)


def _context(files: TlsFiles, content: TlsBytes, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol])
    try:
        with _in_memory(content.key + b"\n" + content.certificate) as path:
            context.load_cert_chain(path, password=_no_password)
    except (ssl.SSLError, ValueError) as problem:
        reason = getattr(problem, "reason", None) or problem
        raise TlsError(
            f"{files.certificate} and {files.key}: cannot be used together ({reason}); the key is an unencrypted PEM file and "
            "belongs to the first certificate of the chain"
        ) from problem
    except OSError as problem:  # no descriptor is to be had
        raise TlsFilesAway(f"{files.certificate}: cannot be handed to OpenSSL: {problem.strerror}") from problem
    context.verify_mode = _VERIFY[files.client]
    if files.client != "off":
        try:
            text = content.client_ca.decode("ascii", "ignore")  # remarks in it may be in any language
            context.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as problem:
            raise TlsError(f"{files.client_ca}: cannot be used as certificates of client CAs ({problem})") from problem
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate CA in the file is trusted without its root
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _content(path: Path, setting: str) -> bytes:
    try:
        return read_bounded(path, _MOST_BYTES)
    except OSError as problem:
        raise TlsFilesAway(f"VEDETTE_{setting}: cannot read {path}: {problem.strerror}") from problem


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path with this content. Python's ssl takes a key from a path only; on Linux it names memory, elsewhere a private file."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:  # pragma: no cover  # not Linux
        file.write(content)
        file.flush()
        yield file.name
