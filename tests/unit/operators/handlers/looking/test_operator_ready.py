"""`Ready` is True only with as many replicas as are asked for, whatever the backend has room for."""

from datetime import UTC, datetime

import pytest

from operators.api.types import ModelServiceStatus
from operators.handlers.looking.status_view import LookFindings, service_status
from operators.rollout.evidence import Observation, ReplicaEvidence
from operators.rollout.spec import Revision
from operators.rollout.status import RolloutStatus

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
STABLE = Revision(version="1", bundle="sha256:" + "a" * 64)


@pytest.mark.parametrize(
    ("asked", "state", "message"),
    [
        pytest.param(12, "False", "8 of 12 replicas serve the stable revision", id="more than there is room for"),
        pytest.param(8, "True", "8 of 8 replicas serve the stable revision", id="as many"),
        pytest.param(4, "True", "8 of 8 replicas serve the stable revision", id="fewer, the others are not gone yet"),
        pytest.param(None, "True", "8 of 8 replicas serve the stable revision", id="nobody asks for any"),
    ],
)
def test_ready_is_said_of_as_many_as_are_asked_for(asked: int | None, state: str, message: str):
    replicas = tuple(ReplicaEvidence(replica=f"r{n}", loaded=(STABLE.digest,)) for n in range(8))
    observation = Observation(at=AT, replicas=replicas, expected_replicas=8, wanted_replicas=8)
    seen = LookFindings(observation, 8, problem="there is room for 8", asked_replicas=asked)

    status = service_status(ModelServiceStatus(), 1, RolloutStatus(stable=STABLE), seen, AT)

    (ready,) = [c for c in status.conditions if c.type == "Ready"]
    assert (ready.status, ready.message) == (state, message)
