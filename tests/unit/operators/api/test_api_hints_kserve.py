"""What KServe cannot do is said before the backend refuses it."""

import pytest

from operators.api.hints import hints
from operators.api.read import read
from tests.fakes.resources import policy, service

KSERVE = {"kserve": {"storageUri": "s3://bundles/{digest}"}}


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        pytest.param({}, ["cannot"], id="the default steps mirror"),
        pytest.param({"policy": {"steps": [{"mirror": {}}, {"analysis": {}}]}}, ["cannot"], id="a mirror step"),
        pytest.param({"policy": {"steps": [{"setWeight": 2.5}, {"analysis": {}}]}}, ["whole percents"], id="half a percent"),
        pytest.param({"policy": {"steps": [{"setWeight": 5}, {"analysis": {}}]}}, [], id="whole weights alone"),
        pytest.param({"policyRef": {"name": "careful"}}, [], id="a policy that is elsewhere"),
    ],
)
def test_kserve(rollout, says):
    found = [str(h) for h in hints(read(service(backend=KSERVE, rollout=rollout))) if "KServe" in str(h)]
    assert len(found) == len(says)
    assert all(word in text for word, text in zip(says, found, strict=True))


def test_ray_is_not_held_to_it():
    assert not [h for h in hints(read(service())) if "KServe" in str(h)]
    assert not [h for h in hints(read(policy())) if "KServe" in str(h)]
