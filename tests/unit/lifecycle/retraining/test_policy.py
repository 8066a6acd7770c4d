"""The policy file: what is refused, and the complete one that is printed."""

import pytest
import yaml

from lifecycle.retraining.errors import DamagedProgress, PolicyError, RetrainingError
from lifecycle.retraining.policy import RetrainingPolicy, parse_policy, read_policy
from lifecycle.retraining.policy_text import commented_policy
from lifecycle.retraining.progress import RetrainingProgress, folder_of, load_progress, save_progress


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("strategies: {}", "no strategy is set", id="no strategy"),
        pytest.param("strategies: {scheduled: {cron: 'x'}}", "expected five fields", id="no cron"),
        pytest.param("strategies: {scheduled: {cron: '* * * * * *'}}", "expected five fields", id="a cron with seconds"),
        pytest.param("strategies: {scheduled: {cron: '0 0 31 2 *'}}", "match some time", id="a day that never comes"),
        pytest.param("strategies: {scheduled: {timezone: Mars/Base}}", "not a time zone", id="no time zone"),
        pytest.param("strategies: {on_demand: {persist: 20d}}", "clear_after", id="an alarm that is over before it may ask"),
        pytest.param("strategies: {active: {}}\ncool_down: soon", "expected a duration", id="no duration"),
        pytest.param("strategies: {active: {}}\ncooldown: 6h", "cooldown", id="a field that there is not"),
        pytest.param("strategies: {on_demand: {kinds: [boredom]}}", "kinds", id="a kind of alarm that there is not"),
        pytest.param("- a", "is not a policy", id="a list"),
        pytest.param("a: [", "is not YAML", id="no YAML"),
        pytest.param("when: 2026-99-99", "is not YAML", id="a date that there is not"),
    ],
)
def test_a_policy_that_is_refused_says_where(text, says):
    with pytest.raises(PolicyError, match=says):
        parse_policy(text, where="retraining.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PolicyError, match=r"no\.yaml"):
        read_policy(tmp_path / "no.yaml")


def test_the_complete_policy_has_every_field_with_its_default_but_for_those_that_few_labels_need():
    text = commented_policy()
    found = parse_policy(text, where="printed")
    rules = RetrainingPolicy(strategies=found.strategies).challenge
    gates = {"newest": rules.newest, "kept": rules.kept, "families": rules.families}
    assert {name: gate.undecided for name, gate in gates.items()} == {
        "newest": "refuse",
        "kept": "refuse",
        "families": "as_seen",
    }
    rules = rules.model_copy(update={name: gate.model_copy(update={"undecided": "pass"}) for name, gate in gates.items()})
    assert found == RetrainingPolicy(strategies=found.strategies, challenge=rules, rollout="careful")
    assert yaml.safe_load(text)["strategies"].keys() == {"scheduled", "on_demand", "incremental", "active"}
    assert text.count("#") > 60


def test_durations_may_be_put_together():
    assert parse_policy("strategies: {active: {}}\ncool_down: 1h30m", where="x").cool_down == 5400


def test_progress_is_read_back_as_it_was_saved(tmp_path):
    found = RetrainingProgress("flows", 5, 7).refusing("trigger-1")
    save_progress(tmp_path, found)
    assert load_progress(tmp_path, "flows", 99) == found


def test_progress_that_is_damaged_is_not_taken_for_none(tmp_path):
    (tmp_path / "progress.json").write_text('{"model": 5}', encoding="utf-8")
    with pytest.raises(DamagedProgress, match=r"progress\.json"):
        load_progress(tmp_path, "flows", 1)


@pytest.mark.parametrize("name", ["../../x", "/etc", "a/b", "..", "", "a\0b"])
def test_a_name_that_leads_out_of_the_store_is_no_model(tmp_path, name):
    with pytest.raises(RetrainingError, match="not the name of a model"):
        folder_of(tmp_path, name)
