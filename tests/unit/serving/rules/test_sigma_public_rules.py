"""Public rules against the public events that each must match."""

import os
from pathlib import Path

import orjson
import pytest
import yaml

from serving.rules.events import MultiValue, fields_of_json
from serving.rules.matcher import compile_sigma
from serving.rules.tree import LogSource
from tests.unit.serving.rules.naive_sigma import matches

pytestmark = pytest.mark.skipif(
    not os.environ.get("VEDETTE_DATA_DIR") or not (Path(os.environ["VEDETTE_DATA_DIR"]) / "sigma").is_dir(),
    reason="needs public SIGMA rules and events: set VEDETTE_DATA_DIR to the folder with sigma/",
)


@pytest.fixture(scope="module")
def files():
    folder = Path(os.environ["VEDETTE_DATA_DIR"]) / "sigma" / "rules"
    return [(p.name, p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.yml"))]


@pytest.fixture(scope="module")
def compiled(files):
    return compile_sigma(files)


@pytest.fixture(scope="module")
def events():
    """(id of the rule that must match, event)"""
    folder = Path(os.environ["VEDETTE_DATA_DIR"]) / "sigma" / "events"
    found = []
    for path in sorted(folder.glob("*.json")):
        text = path.read_bytes()
        try:
            bodies = [orjson.dumps(orjson.loads(text))]
        except orjson.JSONDecodeError:
            bodies = [line for line in text.splitlines() if line.strip()]
        found += [(path.stem.split("__")[1], body) for body in bodies]
    assert len(found) >= 100
    return found


@pytest.mark.heavy
def test_every_rule_is_supported_and_reached(compiled, files):
    assert len(compiled.rules) == len(files)
    assert compiled.unsupported == compiled.unreached == ()


def test_no_event_is_missed(compiled, events):
    assert [wanted for wanted, body in events if wanted not in {r.id for r in compiled.match(fields_of_json(body)[0])}] == []


@pytest.mark.heavy
def test_what_else_matches_is_right_by_the_rules_text(compiled, files, events):
    """Each other rule an event matches is one that the naive evaluator, over the rule's own text, says matches, and no other does."""
    documents = (yaml.load(text, Loader=yaml.CSafeLoader) for _, text in files)
    detections = {d["id"]: (d["logsource"], d["detection"]) for d in documents}
    named = {(s.get("product"), s.get("category"), s.get("service")) for s, _ in detections.values()}
    others = 0
    for wanted, body in events:
        fields, _ = fields_of_json(body)
        got = {r.id for r in compiled.match(fields)}
        covered = compiled.sources.of(fields).covered(LogSource(*parts) for parts in named)
        keys = {(k.product, k.category, k.service) for k in covered}
        event = {name: list(v.values) if isinstance(v, MultiValue) else v for name, v in fields.items()}
        right = {
            identity
            for identity, (source, detection) in detections.items()
            if (source.get("product"), source.get("category"), source.get("service")) in keys and matches(detection, event)
        }
        assert got == right
        others += len(got - {wanted})
    assert (
        others <= 25
    )  # of 107 x 106 pairs; each is of the same family, e.g. any download by certutil and one from a file host
