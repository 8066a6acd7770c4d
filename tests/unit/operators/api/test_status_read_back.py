"""A status that a newer operator wrote is read by this one, whatever fields were added; what people write is read strictly."""

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from operators.api.read import ApiError, read_policy, read_service
from operators.api.service_intent import status_of
from operators.handlers.looking.status_view import LookFindings, as_json, service_status, unserved_status
from operators.rollout.judging.ledger import Ledger
from operators.rollout.status import Assessment, FinishedRollout, GateView, HistoryEntry, RolloutStatus
from serving.files import read_back
from tests.fakes.operator.rollouts import A, B, at, under_way

NEWER = {"fromTheFuture": {"any": ["thing"]}}
SEEN = Assessment(reason="errors: no worse", gates=(GateView(name="errors", stable=(10, 1)),), at=at(5))
MOVE = HistoryEntry(at=at(1), move="setWeight", weight=5, assessment=SEEN)
ENDED = FinishedRollout(candidate=B, stable=A, started=at(0), ended=at(9), outcome="promoted", moves=(MOVE,))


def by_a_newer_release(value: object, written: Any) -> Any:
    """What was written of a value, with a field more in everything that has fields."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        told = {(f.alias or name): getattr(value, name) for name, f in fields.items()}
        return {**{k: by_a_newer_release(told[k], w) for k, w in written.items()}, **NEWER}
    if isinstance(value, Mapping):
        return {k: by_a_newer_release(value[k], w) for k, w in written.items()}
    if isinstance(value, tuple | list):
        return [by_a_newer_release(v, w) for v, w in zip(value, written, strict=True)]
    return written


def rollout() -> RolloutStatus:
    book = Ledger(at=at(4), is_open=True)
    return under_way(
        "analysis", assessment=SEEN, moves=(MOVE,), history=(ENDED,), ledger=by_a_newer_release(book, book.write())
    )


def document(status: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    asked = {"revision": B.model_dump(mode="json", by_alias=True), **spec}
    head = {"apiVersion": "vedette.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "ids", "namespace": "soc"}}
    return {**head, "spec": asked, "status": status}


def newer_status() -> dict[str, Any]:
    whole = service_status(status_of(document({})), 3, rollout(), LookFindings(), at(6))
    found: dict[str, Any] = by_a_newer_release(whole, as_json(whole))
    return found


def test_every_field_that_is_known_is_read_and_the_log_says_once_which_are_not(caplog):
    caplog.set_level(logging.WARNING)
    read_back._log_once.cache_clear()
    newer = document(newer_status())
    found = read_service(newer).status
    assert found.rollout == rollout()
    assert status_of(newer) == found
    assert {c.type for c in found.conditions} >= {"Valid", "Ready"}
    read_service(newer)
    lines = [r.getMessage() for r in caplog.records if "fromTheFuture" in r.getMessage()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("ModelServiceStatus: another release wrote fields")
    assert "rollout.history.candidate.fromTheFuture" in lines[0]


def test_the_judges_memory_is_read_as_well():
    assert Ledger.read(rollout().ledger) == Ledger(at=at(4), is_open=True)


def test_conditions_of_a_newer_release_keep_their_times():
    newer = newer_status()
    after = unserved_status(newer, "RayService flows is not there", 3, at(60))
    told = {c["type"]: c["lastTransitionTime"] for c in after["conditions"]}
    assert told["Valid"] == next(c["lastTransitionTime"] for c in newer["conditions"] if c["type"] == "Valid")


def test_a_spec_is_read_strictly_beside_a_newer_status():
    with pytest.raises(ApiError, match=r"spec\.revisions"):
        read_service(document(newer_status(), revisions=[]))


def test_what_is_wrong_in_more_than_its_fields_is_said_as_ever():
    spoilt = {**newer_status(), "weight": "much"}
    with pytest.raises(ApiError, match=r"status.weight"):
        read_service(document(spoilt))


def test_a_policy_is_read_in_the_same_way():
    head = {"apiVersion": "vedette.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "careful"}}
    assert read_policy({**head, "spec": {}, "status": {"services": 2, **NEWER}}).status.services == 2
    with pytest.raises(ApiError, match="stepz"):
        read_policy({**head, "spec": {"stepz": []}})
