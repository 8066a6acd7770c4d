"""`vedette retrain run --follow`: a look that fails ends nothing that a person can mend."""

from dataclasses import replace

import pytest

from operators.cli.console import CommandError
from operators.cli.retraining.verbs import _look_or_say, _pause_s
from tests.unit.lifecycle.retraining.world import policy, stale


def looked(at, said=None):
    return _look_or_say(at, policy(), said, as_json=False, again="60s")


def failing(problem):
    def alarms():
        raise problem

    return alarms


def test_a_full_disk_is_said_once_and_the_next_look_tries_again(tmp_path, capsys):
    world = stale(tmp_path)
    full = replace(world.at, alarms=failing(OSError(28, "No space left on device")))
    said = looked(full)
    assert "the disk is full" in capsys.readouterr().err
    assert looked(full, said) == said
    assert capsys.readouterr().err == "", "once"
    world.alarms.clear()
    assert "no alarm stands" in looked(world.at, said)


def test_a_mistake_of_the_program_is_not_passed_over(tmp_path):
    with pytest.raises(ZeroDivisionError):
        looked(replace(stale(tmp_path).at, alarms=failing(ZeroDivisionError())))


@pytest.mark.parametrize("every", ["0s", "10ms", "-1s", "nan", "999999999d"])
def test_a_pause_that_is_none_is_refused(every):
    with pytest.raises(CommandError, match="--every"):
        _pause_s(every)
