"""A certificate authority for tests: it issues certificates for servers and clients, in the files that cert-manager would write."""

import datetime
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass
class Issued:
    """A certificate and its key, in PEM form. paths: of the files, once they are written."""

    certificate: bytes
    key: bytes
    paths: tuple[Path, Path] | None = None

    def write(self, folder: Path, name: str = "tls") -> "Issued":
        folder.mkdir(parents=True, exist_ok=True)
        self.paths = folder / f"{name}.crt", folder / f"{name}.key"
        self.paths[0].write_bytes(self.certificate)
        self.paths[1].write_bytes(self.key)
        return self


@dataclass
class Authority:
    """Signs with a key of its own."""

    name: str = "tests"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        subject = _name(self.name)
        built = _built(subject, subject, self.key.public_key(), datetime.timedelta(days=1))
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        built = built.add_extension(usage, critical=True)
        built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        self.certificate = built.sign(self.key, hashes.SHA256())
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        name: str = "localhost",
        *,
        client: bool = False,
        dns: tuple[str, ...] = (),
        uris: tuple[str, ...] = (),
        lasts: datetime.timedelta = datetime.timedelta(hours=1),
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(one) for one in dns] + [
            x509.UniformResourceIdentifier(one) for one in uris
        ]
        if not client:
            names += [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        built = _built(_name(name), self.certificate.subject, key.public_key(), lasts)
        if names:
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        built = built.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        signed = built.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Issued(signed.public_bytes(serialization.Encoding.PEM), private)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SOC")])


def _built(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasts: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    begins = min(now, now + lasts) - datetime.timedelta(minutes=5)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(now + lasts)
