"""A spare process is a convenience: without what it needs of Ray, a replica starts all the same, and says so."""

import logging
import sys

import pytest

from serving.replica.spare_process import start_spare


@pytest.mark.parametrize("gone", ["ray._private.grpc_utils", "ray.core.generated"])
def test_parts_of_ray_that_are_gone_cost_a_warning_only(gone, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, gone, None)
    with caplog.at_level(logging.WARNING, "vedette.replica"):
        start_spare()
    assert [(r.levelname, r.getMessage().split(":")[0]) for r in caplog.records] == [
        ("WARNING", "no spare process could be started")
    ]
