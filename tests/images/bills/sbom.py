"""`make sbom`: a bill of materials (CycloneDX 1.6, JSON) and a list of licences for each image, in build/sbom.

An image's packages are those its requirements lock, seen by CycloneDX's own generator in an environment of links into this one. It
validates what it writes. Debian's packages of the base are not in it: the builder of images knows them (`docker buildx build --sbom=true`).
The Python is that of .venv; an image has 3.11: `make sbom PYTHON=python3.11`."""

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonschema import FormatChecker

from tests.images.bills.licences import reviewed
from tests.images.container import ROOT
from tests.images.locked import link_locked
from tests.images.rooms import REQUIREMENTS


def bill(image: str, folder: Path) -> dict:
    """The bill of materials of one image. folder: an empty one, for its environment."""
    venv.create(folder, symlinks=True, with_pip=False)
    link_locked(ROOT / "requirements" / f"{REQUIREMENTS[image]}.txt", folder)
    options = [
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--spec-version",
        "1.6",
        "--output-reproducible",
        "--short-PURLs",
        "--validate",
    ]
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "environment", *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"cyclonedx-py could not describe {image}: {done.stderr.strip()[-2000:]}")
    document: dict = json.loads(done.stdout)
    document["metadata"]["component"]["name"] = f"vedette-{image}"
    conclude_licences(document)
    wrong = [url for url in references(document) if not is_uri_reference(url)]
    if wrong:
        raise RuntimeError(f"the bill of {image} refers to {', '.join(wrong)}: no URI; is the package's metadata in order?")
    return document


def conclude_licences(document: dict) -> None:
    """Give each package without a licence the one that was read in its wheel. Raises LookupError for one that nobody has read."""
    for component in document["components"]:
        if not component.get("licenses"):
            name = component["name"].lower().replace("_", "-")
            component["licenses"] = [{"license": {"id": reviewed(name), "acknowledgement": "concluded"}}]


def references(document: Any) -> Iterator[str]:
    """Every `url` of a bill."""
    for key, value in (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    ):
        if key == "url":
            yield str(value)
        else:
            yield from references(value)


def is_uri_reference(text: str) -> bool:
    """RFC 3986. The generator's own check of IRIs needs a package that this project leaves out (pyproject.toml)."""
    checker = FormatChecker()
    assert "uri-reference" in checker.checkers, "jsonschema checks URIs if rfc3986-validator is installed"
    return checker.conforms(text, "uri-reference")


def licences(document: dict) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Of each package its name, its version, and what it says about its licence: SPDX ids or expressions where it has them."""
    for component in document["components"]:
        said = []
        for entry in component.get("licenses", ()):
            one = entry.get("license", {})
            said.append(entry.get("expression") or one.get("id") or one.get("name"))
        yield component["name"].lower().replace("_", "-"), component["version"], tuple(sorted(set(said)))


def main() -> None:
    """Write build/sbom/IMAGE.json and IMAGE.licences.txt."""
    target = ROOT / "build" / "sbom"
    target.mkdir(parents=True, exist_ok=True)
    for image in REQUIREMENTS:
        with TemporaryDirectory() as folder:
            document = bill(image, Path(folder))
        (target / f"{image}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        lines = [f"{name} {version}: {' | '.join(said) or 'not said'}\n" for name, version, said in sorted(licences(document))]
        (target / f"{image}.licences.txt").write_text("".join(lines), encoding="utf-8")
        print(f"build/sbom/{image}.json: {len(lines)} packages")


if __name__ == "__main__":
    main()
