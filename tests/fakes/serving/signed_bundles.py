"""Bundles with signatures, and folders of trusted keys, as tests need them."""

from datetime import UTC, datetime
from pathlib import Path

from serving.models.bundle import Bundle, files_of
from serving.models.signing.keys import SigningKey
from serving.models.signing.statement import sign
from serving.models.signing.trust import TrustedKeys

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Signers:
    """People with keys, and a folder of those that are trusted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trusted_dir = folder, folder / "trusted"
        self.trusted_dir.mkdir(parents=True)
        self.now = NOW

    @property
    def trusted(self) -> TrustedKeys:
        return TrustedKeys(self.trusted_dir, lambda: self.now)

    def key(self, name: str) -> SigningKey:
        path = self.folder / f"{name}.pem"
        return SigningKey.from_file(path) if path.exists() else SigningKey.create(path)

    def trust(self, name: str) -> None:
        (self.trusted_dir / f"{name}.pub").write_bytes(self.key(name).public.pem)

    def signature(self, bundle: Bundle, name: str) -> bytes:
        return sign(
            f"{bundle.manifest.name}/{bundle.manifest.version}", files_of(bundle.manifest, bundle.digest), self.key(name)
        )
