"""What an audit of dependencies says: a hole is told, an accepted one is not until its end, and no answer is no clean bill."""

import re
from datetime import date

import pytest

from tests.house import ROOT
from tests.security.dependencies import ACCEPTED, LOCK, Accepted, Audit, complaints, read_accepted, read_audit

HOLE = ("jinja2", "2.4.1", "PYSEC-2019-217", "2.10.1")
TODAY = date(2030, 3, 1)


def accepted(until: date, package: str = "jinja2") -> Accepted:
    return Accepted("PYSEC-2019-217", package, "no sandbox is used", until)


@pytest.mark.parametrize(
    ("found", "exceptions", "words"),
    [
        pytest.param([], [], None, id="nothing found, nothing said"),
        pytest.param([HOLE], [], "take 2.10.1", id="a hole is told with the version that mends it"),
        pytest.param([HOLE], [accepted(TODAY)], None, id="an accepted one is not, to the end of its last day"),
        pytest.param([HOLE], [accepted(date(2030, 2, 28))], "accepted until 2030-02-28 only", id="after its end it is"),
        pytest.param([HOLE], [accepted(TODAY, "flask")], "jinja2 2.4.1 has", id="an exception is for one package"),
        pytest.param([], [accepted(TODAY)], "remove the entry", id="an exception that nothing needs goes"),
    ],
)
def test_what_is_said(found, exceptions, words):
    said = complaints(Audit(1, tuple(found), ()), exceptions, TODAY)

    assert (said == []) if words is None else any(words in line for line in said)


def test_an_exception_stays_where_its_package_could_not_be_looked_at():
    assert complaints(Audit(0, (), ("jinja2",)), [accepted(TODAY)], TODAY) == []


def test_a_package_that_the_service_does_not_know_is_not_one_without_holes():
    report = {
        "dependencies": [
            {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]},
            {"name": "click", "version": "8", "vulns": []},
            {"name": "wrapt", "skip_reason": "Dependency not found"},
        ]
    }

    assert read_audit(report) == Audit(2, (HOLE,), ("wrapt",))


def test_each_exception_has_a_reason_and_an_end():
    assert all(entry.reason and isinstance(entry.until, date) for entry in read_accepted(ACCEPTED.read_text(encoding="utf-8")))
    with pytest.raises(TypeError):
        read_accepted("[{id: PYSEC-2019-217, package: jinja2, reason: none has an end}]")


def test_what_is_audited_holds_every_version_of_every_image():
    def pins(text: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9][^ ;\\]*==[^ ;\\]+", text, re.MULTILINE))

    all_of_them = pins(LOCK.read_text(encoding="utf-8"))
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        assert pins(lock.read_text(encoding="utf-8")) <= all_of_them, lock.name
    assert len(all_of_them) > 100
