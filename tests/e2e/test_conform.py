"""`vedette conform` finds nothing to object to here: every model served, both doors, MUST and SHOULD."""

import json

import pytest

from tests.e2e.running.vedette import Vedette, verb

pytestmark = pytest.mark.e2e


def failures(vedette: Vedette, *options: str) -> tuple[list[str], dict]:
    done = verb("conform", "--http", vedette.http, "--grpc", vedette.grpc, "--json", *options, check=False)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    found = [f"{c['id']} ({c['model']}): {c['detail']}" for c in report["checks"] if c["status"] == "fail"]
    assert done.returncode == (1 if report["summary"]["must_failures"] else 0)
    return found, report


def test_every_model_served_conforms(vedette: Vedette):
    found, report = failures(vedette)
    assert found == []
    models = {check["model"] for check in report["checks"] if check["model"]}
    assert {"simple", vedette.model} <= models
    answered = {c["model"] for c in report["checks"] if c["id"] == "http.infer.answers" and c["status"] == "pass"}
    assert answered == models


def test_unloading_and_loading_conforms(vedette: Vedette):
    found, report = failures(vedette, "--model", "simple", "--only", "http.repository", "--may-change")
    assert found == []
    assert report["summary"]["skip"] == 0


def test_one_door_alone_conforms(vedette: Vedette):
    only_grpc = verb("conform", "--grpc", vedette.grpc, "--model", "simple", "--json")
    assert json.loads(only_grpc.stdout)["summary"]["fail"] == 0
    only_http = verb("conform", "--http", vedette.http, "--model", "simple", "--json")
    assert json.loads(only_http.stdout)["summary"]["fail"] == 0


def test_a_closed_door_is_one_clear_message():
    done = verb("conform", "--http", "http://127.0.0.1:9", check=False)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
