"""promtool fires every alert and holds every alert back: with series that are bad enough for long enough, and not quite."""

import dataclasses

import pytest
import yaml

from operators.observability.alerts.catalogue import GROUPS
from operators.observability.alerts.prometheus_rule import rule_file
from tests.manifests.observability.cases import RECORDS, RUNS
from tests.manifests.observability.promtool import judge, needs_promtool, promtool

BY_PAGE = {group.page: group for group in GROUPS}


def test_every_alert_has_its_cases():
    named = [name for _, _, cases in RUNS for name in cases]
    assert sorted(named) == sorted(alert.name for group in GROUPS for alert in group.alerts)


@needs_promtool
def test_promtool_takes_the_rules(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule_file()), encoding="utf-8")
    done = promtool("check", "rules", "rules.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(
    ("page", "every_min", "cases"), [pytest.param(*run, id=f"{run[0]}, every {run[1]} min") for run in RUNS]
)
def test_alerts_fire_and_are_quiet(tmp_path, page, every_min, cases):
    done = judge(tmp_path, BY_PAGE[page], cases, every_min)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_case_that_does_not_hold_is_found(tmp_path):
    """The judge itself: with the two series exchanged promtool must fail, for both reasons."""
    name, case = "VedetteRecordsLost", RECORDS["VedetteRecordsLost"]
    exchanged = dataclasses.replace(case, fires=case.quiet, quiet=case.fires)
    done = judge(tmp_path, BY_PAGE["records"], {name: exchanged}, 1)
    assert done.returncode != 0
    assert (done.stdout + done.stderr).count("exp:") == 2, done.stdout + done.stderr
