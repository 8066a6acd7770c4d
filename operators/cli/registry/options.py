"""What the verbs of `vedette registry` share: options, the registry that is meant, bundles in words."""

import getpass
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import page, print_json
from operators.cli.store.store_option import StoreDir
from operators.cli.times import time_text

if TYPE_CHECKING:
    from lifecycle.governance.registry.history import RegisteredBundle
    from lifecycle.governance.registry.registry import CarryProgress, Registry
    from serving.models.signing.trust import TrustedKeys
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings

RegistryUrl = Annotated[
    str | None, typer.Option("--registry", help="Folder or fsspec URL (default: VEDETTE_REGISTRY, or `registry` in the store).")
]
ReferenceArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="NAME, NAME/VERSION, NAME@STAGE, NAME:ALIAS or sha256:HEX.")
]
AnyBundle = Annotated[
    str,
    typer.Argument(metavar="BUNDLE", help="A reference into the registry, a model of the store (NAME/VERSION), or a folder."),
]
Because = Annotated[
    str, typer.Option("--why", help="Reason; recorded with your name in the registry and in the log of governed acts.")
]

__all__ = ["StoreDir"]


@dataclass(frozen=True, slots=True)
class Place:
    """The registry that is meant, and this machine's store."""

    settings: "ServingSettings"

    @property
    def store(self) -> "BundleStore":
        """This machine's store; nothing is required of what is read."""
        from serving.models.store import BundleStore

        return BundleStore(self.settings.store_dir)

    @property
    def trusted(self) -> "TrustedKeys":
        """Whom this machine trusts."""
        from serving.models.signing.trust import TrustedKeys

        return TrustedKeys(self.settings.trusted_keys_dir, lambda: datetime.now(UTC))

    def registry(self, progress: "CarryProgress" = lambda path, size: None) -> "Registry":
        """The registry; its changes are recorded in the store's log of governed acts, by a key that is made if there is none."""
        from lifecycle.governance.acts import ActsLog
        from lifecycle.governance.registry.object_store import ObjectStore
        from lifecycle.governance.registry.registry import Registry
        from serving.audit.keys.keyring import Keyring, default_key, ensure_key

        settings = self.settings

        def signer() -> Any:
            key = settings.audit_key or ensure_key(settings.store_dir, settings.audit_key_name)
            return Keyring(key or default_key(settings.store_dir), settings.audit_key_name).signer()

        return Registry(
            ObjectStore(settings.registry_url),
            acts=ActsLog(settings.store_dir / "governance", signer=signer, now_us=now_us),
            actor=who(),
            now_us=now_us,
            trusted=self.trusted if settings.require_signed else None,
            progress=progress,
        )


def place(store_dir: Path | None, registry: str | None) -> Place:
    """The place that options and settings name."""
    from serving.settings import ServingSettings

    given = {"store_dir": store_dir, "registry": registry}
    return Place(ServingSettings(**{name: value for name, value in given.items() if value is not None}))  # type: ignore[arg-type]


def who() -> str:
    """The user of the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def when(time_us: int) -> str:
    """A moment for people, UTC."""
    return time_text(time_us, "%Y-%m-%d %H:%M UTC")


def described(bundle: "RegisteredBundle") -> dict[str, Any]:
    """A bundle as JSON."""
    return {
        "name": bundle.name,
        "version": bundle.version,
        "stage": bundle.stage,
        "aliases": list(bundle.aliases),
        "digest": bundle.digest,
        "pushed_us": bundle.pushed_us,
        "time_us": bundle.time_us,
        "by": bundle.by,
        "reason": bundle.reason,
    }


def say(bundle: "RegisteredBundle", *, as_json: bool) -> None:
    """What a bundle is now, after a change."""
    if as_json:
        print_json(described(bundle))
        return
    aliases = "".join(f", :{alias}" for alias in bundle.aliases)
    page().print(f"{bundle.name} {bundle.version}: {bundle.stage}{aliases}\n{bundle.digest}", soft_wrap=True, markup=False)
