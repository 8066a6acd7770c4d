"""Authorities of the user's choice are accepted alike in every place that speaks TLS, on every version of Python."""

import ast
import datetime
import ssl
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operators.backends.kube_access import _tls as kube_tls
from operators.backends.metrics_pages import PodTls
from operators.conformance.transport import Trust
from serving.access.authentication.key_sets import trust_of
from serving.features.stores.redis_wire import _trust_of
from serving.risk.redis_ledger import RedisLedger
from serving.risk.rules_of_risk import RiskRules
from serving.sinks.transports.tls import tls_context
from serving.stream.codecs.registry import _tls as registry_tls
from serving.telemetry.tracing.otlp_http import OtlpHttp
from serving.tls_trust import client_trust

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def newer_python(monkeypatch):
    """From 3.13 on the default context is strict."""
    made = ssl.create_default_context

    def strict(*args, **more):
        context = made(*args, **more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


@pytest.fixture
def plain(tmp_path):
    """An authority as many private ones are, without the extensions of RFC 5280, and a server's certificate of it."""
    return PlainAuthority(tmp_path)


class PlainAuthority:
    def __init__(self, folder):
        self.path, self.server = folder / "ca.crt", folder / "server.pem"
        key, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plain")])
        ca = _builder(name, name, key).add_extension(x509.BasicConstraints(True, None), critical=False)
        self.path.write_bytes(ca.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        leaf = _builder(x509.Name([]), name, own).add_extension(names, critical=True).sign(key, hashes.SHA256())
        encoded = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.server.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + encoded)

    def meet(self, context, name="localhost"):
        """A handshake in memory with the server of this authority."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(self.server)
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours, theirs = context.wrap_bio(down, up, server_hostname=name), server.wrap_bio(up, down, server_side=True)
        for _ in range(4):
            for side in (ours, theirs):
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()


def _builder(subject, issuer, key):
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )


def said(name):
    return lambda path: SimpleNamespace(_said=lambda word: str(path) if word == name else None)


PLACES = {
    "sinks": lambda ca: tls_context(ca, None, None),
    "the schema registry": lambda ca: registry_tls(SimpleNamespace(ca_file=str(ca), certificate_file=None)),
    "Redis, a cluster and sentinels": lambda ca: _trust_of.__wrapped__(),
    "pages of replicas": lambda ca: PodTls(ca).context(),
    "keys of token issuers": lambda ca: trust_of(SimpleNamespace(ca=str(ca))),
    "spans": lambda ca: OtlpHttp._context(said("CERTIFICATE")(ca)),
    "conformance": lambda ca: Trust(ca).context(),
    "the cluster": lambda ca: kube_tls(
        SimpleNamespace(host="https://x", ssl_ca_cert=str(ca), verify_ssl=True, cert_file=None, key_file=None)
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_authority_without_extensions_is_accepted_in_every_place(place, plain, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(plain.path))
    context = PLACES[place](plain.path)
    plain.meet(context)
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'elsewhere'"):
        plain.meet(context, "elsewhere")
    assert (context.verify_mode, context.minimum_version) == (ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2)


def test_what_newer_python_would_refuse(plain):
    with pytest.raises(ssl.SSLCertVerificationError):
        plain.meet(ssl.create_default_context(cafile=str(plain.path)))


def test_an_authority_that_did_not_sign_is_refused(plain, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(ssl.SSLCertVerificationError):
        plain.meet(client_trust(PlainAuthority(tmp_path / "other").path))


def test_the_ledger_of_risks_has_a_client_of_its_own_that_is_as_lenient():
    ledger = RedisLedger("rediss://localhost:1/0", RiskRules())
    assert ledger._redis.connection_pool.connection_kwargs["ssl_exclude_verify_flags"] == [ssl.VERIFY_X509_STRICT]


@pytest.mark.heavy
def test_no_place_makes_a_context_of_its_own():
    found = []
    for room in ("serving", "lifecycle", "operators", "feature_repo"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)) if "create_default_context" in text else ():
                is_call = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("create_default_context")
                if is_call and "CLIENT_AUTH" not in ast.unparse(node):  # that is a server
                    found.append(path.relative_to(ROOT).as_posix())
    assert found == ["serving/tls_trust.py"]
