"""Checkov on every overlay: what it finds is mended or explained in exclusions.yaml. It is a program of its own (`make cluster-tools`)."""

import fnmatch
import json
import subprocess
from pathlib import Path

import pytest

from tests import quick_yaml as yaml
from tests.fakes.apiserver.real import built
from tests.manifests.platform.pods import as_pod, templates
from tests.manifests.platform.rendering import WHOLE, whole

pytestmark = [pytest.mark.integration, pytest.mark.slow]
EXCLUSIONS = yaml.safe_load((Path(__file__).parent / "exclusions.yaml").read_text(encoding="utf-8"))


def _checkov() -> Path:
    found = next((p for folder in built() if (p := folder / "checkov" / "bin" / "checkov").exists()), None)
    if found is None:
        pytest.skip("no Checkov: `make cluster-tools` installs it into a folder of its own")
    return found


def _for_linters(resources):
    """Kinds that linters know; of the others their pods."""
    for resource in resources:
        is_known = resource["kind"] in {"Deployment", "StatefulSet", "CronJob"} or not list(templates(resource))
        yield from [resource] if is_known else [as_pod(*one) for one in templates(resource)]


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """(check, KIND/NAME, message) of all overlays."""
    folder = tmp_path_factory.mktemp("rendered")
    for name in (n for n in WHOLE if n.startswith("overlays/")):
        (folder / f"{name.replace('/', '-')}.yaml").write_text(yaml.safe_dump_all(_for_linters(whole(name))))
    command = [str(_checkov()), "-d", str(folder), "--framework", "kubernetes", "--compact", "--quiet", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 1000, "it looked at what was rendered"
    return [
        (f["check_id"], "/".join((kind := f["resource"].split("."))[:1] + kind[-1:]), f"{f['check_name']} ({f['file_path']})")
        for f in report["results"]["failed_checks"]
    ]


def _explains(entry, check, where):
    return entry["check"] == check and any(fnmatch.fnmatchcase(where, pattern) for pattern in entry["where"])


def test_nothing_is_found_that_is_not_explained(findings):
    assert [f for f in findings if not any(_explains(e, f[0], f[1]) for e in EXCLUSIONS)] == []


def test_every_explanation_is_of_something_that_is_found(findings):
    for entry in EXCLUSIONS:
        assert entry["why"]
        for pattern in entry["where"]:
            assert any(_explains(entry | {"where": [pattern]}, f[0], f[1]) for f in findings), (entry["check"], pattern)
