"""A real Apache Kafka that asks for TLS and a password, as in production: one listener with SASL_SSL, for clients and itself."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from tests.fakes.certificates import write_certificate
from tests.fakes.kafka_broker import KafkaBroker

_ADMIN: Final = "admin"
_USER: Final = "vedette"


class SecuredKafka(KafkaBroker):
    """Users sign in with SCRAM-SHA-512, the broker's own administrator with PLAIN. folder: of the certificate and the password's file.

    options: what a client of `_USER` sets; password_file: the file with its password, which is in no option."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.password_file, self.password = folder / "tls.crt", folder / "password", f"hush-{uuid.uuid4().hex}"
        self._admin_password = uuid.uuid4().hex
        write_certificate(folder)
        keystore = folder / "keystore.pem"
        keystore.write_bytes((folder / "tls.key").read_bytes() + self.authority.read_bytes())
        self.password_file.write_text(f"{self.password}\n", encoding="utf-8")
        known = f'username="{_ADMIN}" password="{self._admin_password}" user_{_ADMIN}="{self._admin_password}"'
        module = "org.apache.kafka.common.security"
        super().__init__(
            is_restarted=False,
            properties={
                "listener.security.protocol.map": "PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT",  # the listener keeps its name
                "inter.broker.listener.name": "PLAINTEXT",
                "sasl.mechanism.inter.broker.protocol": "PLAIN",
                "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
                "listener.name.plaintext.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {known};",
                "listener.name.plaintext.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(keystore),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority),
            },
        )
        self.client = self._signed_in("PLAIN", _ADMIN) | {"sasl.password": self._admin_password}

    @property
    def options(self) -> Mapping[str, str]:
        """Of a client."""
        return self._signed_in("SCRAM-SHA-512", _USER)

    def add_user(self) -> None:
        """Make the user."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 2, **self.client})
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        for done in admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(_USER, how, self.password.encode())], request_timeout=90
        ).values():
            done.result(120)

    def _signed_in(self, mechanism: str, user: str) -> dict[str, str]:
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority),
            "sasl.mechanism": mechanism,
            "sasl.username": user,
        }
