"""Times that verbs read and show: UTC, exact, and the number itself where no calendar has the time."""

from datetime import datetime

import pytest
from typer.testing import CliRunner

from lifecycle.governance.acts import Act, ActsLog
from operators.cli.main import app
from operators.cli.times import iso_time, time_text, to_us

YEAR_10000_US = 253_402_300_800_000_000


@pytest.mark.parametrize(("moment", "expected"), [
    pytest.param(None, 7, id="an option that was not given has its default"),
    pytest.param(datetime(1970, 1, 1), 0, id="a date means its first moment, UTC"),
    pytest.param(datetime(1970, 1, 1, 0, 0, 1, 500_001), 1_500_001, id="fractions of a second are kept"),
    pytest.param(datetime(9999, 12, 31, 23, 59, 59, 999_999), YEAR_10000_US - 1, id="no microsecond is lost, however far the time"),
])  # fmt: skip
def test_the_time_of_an_option(moment, expected):
    assert to_us(moment, 7) == expected


@pytest.mark.parametrize(("time_us", "expected"), [
    pytest.param(0, "1970-01-01T00:00:00+00:00", id="the epoch"),
    pytest.param(1_999_999, "1970-01-01T00:00:01+00:00", id="to the second"),
    pytest.param(-1_000_000, "1969-12-31T23:59:59+00:00", id="before the epoch"),
    pytest.param(YEAR_10000_US - 1, "9999-12-31T23:59:59+00:00", id="the last second that a calendar has"),
    pytest.param(YEAR_10000_US, "time_us 253402300800000000", id="the year 10000"),
    pytest.param(-(10**18), "time_us -1000000000000000000", id="before the year 1"),
    pytest.param(10**30, "time_us 1000000000000000000000000000000", id="more than a timedelta holds"),
])  # fmt: skip
def test_a_time_as_iso_8601(time_us, expected):
    assert iso_time(time_us) == expected


def test_a_time_in_another_form():
    assert iso_time(1_500_000, "milliseconds") == "1970-01-01T00:00:01.500+00:00"
    assert time_text(60_000_000, "%Y-%m-%d %H:%M UTC") == "1970-01-01 00:01 UTC"
    assert time_text(10**18, "%Y-%m-%d %H:%M UTC") == "time_us 1000000000000000000"


@pytest.mark.parametrize("verb", [
    pytest.param(("audit", "hold", "list"), id="holds"),
    pytest.param(("audit", "acts"), id="acts"),
])  # fmt: skip
def test_an_act_at_a_time_that_no_calendar_has_is_listed(tmp_path, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "200")
    said = {"actor": "ada", "action": "hold.add", "subject": "hold/case-7", "reason": "an inquiry"}
    hold = Act(time_us=10**18 - 1, **said, evidence={"where": "true"})
    ActsLog(tmp_path / "governance", signer=lambda: None, now_us=lambda: 0).record(hold)
    done = CliRunner().invoke(app, [*verb, "--store-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "time_us 999999999999999999" in done.stdout
