"""What may be written as a scaling, and what is said of the rest."""

import pytest
from pydantic import ValidationError

from operators.autoscaling.spec import ScalingSpec
from operators.values import words

WINDOW = {"name": "day", "start": "0 8 * * MON-FRI", "duration": "10h", "minReplicas": 3}


def window(**changes):
    return {"schedule": [{**WINDOW, **changes}]}


def test_what_was_read_is_written_the_same():
    spec = ScalingSpec.model_validate({"minReplicas": 2, "latencyObjective": "80ms", "schedule": [WINDOW]})
    assert ScalingSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


@pytest.mark.parametrize(
    ("written", "said"),
    [
        pytest.param({"minReplicas": 5}, "minReplicas: is 5, above maxReplicas 4", id="bounds contain a number"),
        pytest.param(window(start="0 25 * * *"), "not a cron expression", id="a cron expression has hours of a day"),
        pytest.param(window(start="0 0 8 * * MON"), "expected five fields", id="a cron expression has five fields"),
        pytest.param(window(start="0 0 30 2 *"), "not a cron expression", id="a window opens at some time"),
        pytest.param(window(timeZone="Mars/Olympus"), "Europe/Rome", id="a time zone is one of this world"),
        pytest.param(window(timeZone="Europe"), "Europe/Rome", id="a folder of zones is none"),
        pytest.param(window(timeZone="../etc/passwd"), "Europe/Rome", id="a path is no zone"),
        pytest.param(window(duration="8d"), "1m to 7d", id="a window closes within a week"),
        pytest.param(window(minReplicas=None), "changes nothing", id="a window changes something"),
        pytest.param(window(maxReplicas=2), "above maxReplicas 2", id="a window's bounds contain a number"),
        pytest.param(
            {"schedule": [WINDOW, WINDOW]},
            'windows ["day", "day"] repeat a name; name each once',
            id="windows have names of their own",
        ),
        pytest.param(
            {"lookBack": "2h"},
            "lookBack: is 2h, expected a duration of 0s to 1h",
            id="nothing is remembered longer than an hour",
        ),
        pytest.param(
            {"upLimit": {"replicas": 1, "percent": 0, "per": "0s"}}, "1s to 1h", id="a limit has a stretch to hold in"
        ),
        pytest.param({"targetOngoingRequests": 0}, "greater than 0", id="a target is above zero"),
        pytest.param({"replicas": 3}, "Extra inputs", id="an unknown field is an error, not silence"),
    ],
)
def test_what_is_refused_says_why(written, said):
    with pytest.raises(ValidationError) as problem:
        ScalingSpec.model_validate(written)
    assert said in "; ".join(words(problem.value))
