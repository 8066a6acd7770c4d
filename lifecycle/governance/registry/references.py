"""How people name a bundle of the registry. Pure.

    sha256:HEX         this bundle
    flows@production   the one in this stage
    flows:night-shift  the one of this alias
    flows/3            this version
    flows              the newest version

A reference is resolved to a digest once. What is served names the digest, so it does not change when an alias or stage does."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from lifecycle.governance.registry.errors import NoSuchBundle, RegistryError
from lifecycle.governance.registry.history import HELD, ModelHistory, RegisteredBundle

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_REFERENCE: Final = re.compile(rf"({_NAME})(?:([@:/])([A-Za-z0-9-]{{1,63}}))?", re.ASCII)
_KINDS: Final[dict[str, Literal["stage", "alias", "version"]]] = {"@": "stage", ":": "alias", "/": "version"}


@dataclass(frozen=True, slots=True)
class BundleReference:
    """A parsed reference. name: the model; empty for a digest. value: the digest, stage, alias or version; empty for the newest."""

    name: str
    kind: Literal["digest", "stage", "alias", "version", "newest"]
    value: str = ""


def parse_reference(text: str) -> BundleReference:
    """Read a reference. Raises RegistryError.

    >>> parse_reference("flows@production")
    BundleReference(name='flows', kind='stage', value='production')
    """
    if _DIGEST.fullmatch(text):
        return BundleReference("", "digest", text)
    match = _REFERENCE.fullmatch(text)
    if match is None or text.startswith("sha256:"):
        raise RegistryError(
            f"{text!r:.100} names no bundle; expected sha256:HEX, NAME, NAME/VERSION, NAME@STAGE or NAME:ALIAS, e.g. flows@production"
        )
    name, mark, value = match.groups()
    if mark is None:
        return BundleReference(name, "newest")
    if mark == "@" and value not in HELD:
        raise RegistryError(
            f"{text!r}: {value} does not name a single bundle; a reference takes {' or '.join(HELD)}, an alias, or a version"
        )
    return BundleReference(name, _KINDS[mark], value)


def find(reference: BundleReference, history: ModelHistory) -> RegisteredBundle:
    """The bundle of this model that a reference by name means. Raises NoSuchBundle, which lists the bundles there are."""
    found: RegisteredBundle | None
    if reference.kind == "stage":
        found = history.in_stage(reference.value)
    elif reference.kind == "alias":
        found = history.aliased(reference.value)
    elif reference.kind == "version":
        found = history.bundles.get(history.versions.get(reference.value, ""))
    else:
        found = max(history.bundles.values(), key=lambda b: int(b.version), default=None)
    if found is not None:
        return found
    known = [f"{b.version} ({b.stage}{''.join(f', :{a}' for a in b.aliases)})" for b in history.bundles.values()]
    raise NoSuchBundle(
        f"{history.name}: no bundle has {reference.kind} {reference.value}; the registry has {', '.join(known) or 'nothing of it'}"
    )
