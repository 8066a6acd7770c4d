"""Attacks on a folder of logs: each is found, with the right place and kind. The names of the tests name the attack.

Every kind on small logs here; all of them on 100,000 records in `make soak`."""

from collections.abc import Iterator

import pytest

from lifecycle.governance.verify.findings import Report
from lifecycle.governance.verify.run import Verification
from serving.audit.signed_note import Signer
from tests.fakes.audit import attacks_on_chain, attacks_on_records
from tests.fakes.audit.honest_logs import HonestLogs, write_honest_logs
from tests.fakes.audit.scene import Attack, Expected, Scene

pytestmark = pytest.mark.heavy

ALL = [*attacks_on_records.attacks(), *attacks_on_chain.attacks()]
ONE_OF_EACH = list({attack.family: attack for attack in reversed(ALL)}.values())[::-1]


def named(attacks: list[Attack]) -> list:
    return [pytest.param(attack, id=attack.name) for attack in attacks]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> HonestLogs:
    return write_honest_logs(tmp_path_factory.mktemp("honest") / "log", 700)


@pytest.fixture(scope="module")
def many_records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HonestLogs]:
    return write_honest_logs(tmp_path_factory.mktemp("honest") / "log", 111_200, checkpoints_a_segment=10)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer.create(tmp_path_factory.mktemp("foreign") / "foreign.pem")


def verify(logs: HonestLogs) -> Report:
    return Verification(logs.now_us, logs.trust_of, anchored=logs.anchored).verify(logs.folder)


def check_found(report: Report, expected: Expected) -> None:
    """The first finding is the attack; others are about what it touched."""
    assert report.findings, "the attack was not found"
    first, place = report.findings[0], report.findings[0].place
    shown = [(f.kind, str(f.place), f.what) for f in report.findings]
    assert (first.kind, place.log, place.segment) == (expected.kind, expected.log, expected.segment), shown
    if expected.line is not None:
        assert place.line is not None, shown
        assert place.line <= expected.line <= (place.last_line or place.line), shown
        if expected.is_exact:
            assert place.line == expected.line, shown
    touched = {expected.log, "", *expected.also}
    assert {finding.place.log for finding in report.findings} <= touched, shown


def is_found(attack: Attack, logs: HonestLogs, foreign: Signer, folder) -> None:
    scene = Scene.of(logs, folder / "log", foreign)
    expected = attack.do(scene)
    check_found(verify(scene.logs), expected)


def test_logs_that_nobody_attacked_give_no_finding(logs: HonestLogs):
    report = verify(logs)
    assert report.findings == ()
    assert {figures.log: figures.unprotected for figures in report.logs} == {"alpha": 0, "bravo": 0, "charlie": 0, "delta": 3}
    assert [(str(r.kind), r.place.log) for r in report.remarks] == [
        ("sealed by another", "charlie"),
        ("not yet protected", "delta"),
    ]


@pytest.mark.parametrize("attack", named(ONE_OF_EACH))
def test_an_attack_is_found_and_named(attack: Attack, logs: HonestLogs, foreign: Signer, tmp_path):
    is_found(attack, logs, foreign, tmp_path)


def test_there_are_two_hundred_attacks():
    assert len({attack.name for attack in ALL}) >= 200


@pytest.mark.soak
@pytest.mark.parametrize("attack", named(ALL))
def test_an_attack_on_100_000_records_is_found_and_named(attack: Attack, many_records: HonestLogs, foreign: Signer, tmp_path):
    is_found(attack, many_records, foreign, tmp_path)


@pytest.mark.soak
def test_100_000_records_that_nobody_attacked_give_no_finding(many_records: HonestLogs):
    report = verify(many_records)
    assert report.findings == ()
    assert sum(figures.records for figures in report.logs) >= 100_000
