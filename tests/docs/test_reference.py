"""Everything a user can set, send or read has words in the reference."""

import inspect
import os
import re
from pathlib import Path

import msgspec
import pytest
from pydantic import BaseModel

from lifecycle.datasets import detector, scenario, split_spec
from lifecycle.pipeline.running.run import RUN_VARIABLE
from loadtests.settings import LoadSettings
from operators.handlers.settings import OperatorSettings
from operators.telemetry.monitor_names import MONITOR_METRICS
from operators.telemetry.operator_names import OPERATOR_METRICS
from operators.telemetry.sink_names import SINK_METRICS
from serving.access.client_credentials import DoorCredentials
from serving.audit.record import AuditRecord
from serving.doors.grpc.calls import InferenceMethods
from serving.doors.http.router import Endpoint
from serving.doors.oip.envelope import TIMEOUT_HEADERS
from serving.doors.oip.errors import GRPC_CODE, HTTP_STATUS
from serving.errors import ServingError
from serving.models import manifest
from serving.models.parts import conformal, triage
from serving.scoring.answers import answer_parameters
from serving.settings import ServingSettings
from serving.stream.codecs.settings import CodecSettings
from serving.stream.settings import StreamSettings
from serving.telemetry.names import METRICS
from tests.docs.glossary import nouns
from tests.docs.pages import PAGES, ROOT, generated_part, name
from tests.docs.tables import PARTS, variable

OF_THE_TESTS = {"VEDETTE_DATA_DIR", "VEDETTE_KAFKA_LIBS", "VEDETTE_SIGMA_RULES", "VEDETTE_TEST_KUBECONFIG"}
KUBERAY = "1.7"
"""The minimum, and what manifests are tested with."""
REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize(("page", "part"), [pytest.param(*key, id=f"{key[0]} {key[1]}") for key in PARTS])
def test_generated_tables_are_what_the_code_says(page, part):
    found = generated_part((ROOT / page).read_text(encoding="utf-8"), part)
    assert found is not None, f"{page} has no `<!-- generated: {part} -->`"
    assert found[0] == PARTS[page, part](), f"{page} is behind the code; run: .venv/bin/python -m tests.docs.tables"


def test_a_noun_of_the_glossary_has_a_definition():
    short = [(noun, said) for noun, said, _ in nouns(ROOT) if len(said.split()) < 4]
    assert not short, "say what it is in the first sentence of the docstring"


SETTINGS = (ServingSettings, StreamSettings, CodecSettings, LoadSettings, OperatorSettings, DoorCredentials)


def _models(module) -> list[type[BaseModel]]:
    found = [m for m in vars(module).values() if isinstance(m, type) and issubclass(m, BaseModel)]
    return [m for m in found if m.__module__ == module.__name__]


@pytest.mark.parametrize(
    "model",
    [
        ServingSettings,
        StreamSettings,
        CodecSettings,
        LoadSettings,
        *_models(manifest),
        *_models(conformal),
        *_models(triage),
        *_models(detector),
        *_models(split_spec),
        *_models(scenario),
    ],
    ids=lambda m: f"{m.__module__.rpartition('.')[2]}.{m.__name__}",
)
def test_every_field_has_words(model):
    silent = [field for field, info in model.model_fields.items() if not (info.description or "").strip()]
    assert not silent, f"{model.__name__}: give {silent} a docstring below the field"


@pytest.mark.heavy
def test_every_setting_does_something():
    code = "".join(
        p.read_text(encoding="utf-8")
        for room in ("serving", "operators")
        for p in (ROOT / room).rglob("*.py")
        if p.name != "settings.py"
    )
    assert not [field for field in ServingSettings.model_fields if f"settings.{field}" not in code]


ALL_METRICS = (*METRICS, *OPERATOR_METRICS, *MONITOR_METRICS, *SINK_METRICS)


def test_every_metric_says_something_once():
    assert all(m.says.endswith(".") for m in ALL_METRICS)
    assert len({m.name for m in ALL_METRICS}) == len(ALL_METRICS)


def test_every_metric_that_is_declared_anywhere_is_in_a_reference_page():
    """Whoever declares one outside of these tables would show it and describe it nowhere."""
    declared = set()
    for plane in ("serving", "lifecycle", "operators"):
        for path in sorted((ROOT / plane).rglob("*.py")):
            declared |= set(re.findall(r"MetricDoc\(\s*\"(\w+)\"", path.read_text(encoding="utf-8")))
    assert declared - {"x_seconds"} == {m.name for m in ALL_METRICS}
    pages = {part: PARTS[page, part]() for page, part in PARTS if "metrics" in part}
    assert all(any(f"| `{m.name}` |" in text for text in pages.values()) for m in ALL_METRICS)


def test_every_field_of_the_prediction_log_is_described():
    page = (REFERENCE / "prediction-log.md").read_text(encoding="utf-8")
    assert not [f.name for f in msgspec.structs.fields(AuditRecord) if f"`{f.name}`" not in page]


def test_every_error_is_described_with_its_statuses():
    rows = {}
    for line in (REFERENCE / "errors.md").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| `(\w+)` \| (\d+) \| (\w+) \| (yes|no)", line):
            rows[match[1]] = (int(match[2]), match[3], match[4] == "yes")
    expected = {e.__name__: (HTTP_STATUS[e], GRPC_CODE[e], e.can_retry) for e in {*ServingError.__subclasses__(), *HTTP_STATUS}}
    assert rows == expected


def test_every_cause_of_an_error_is_in_the_file_of_errors():
    """Doors know the statuses of these and of their kinds. One that another module defines would be described by no table."""
    serving = REFERENCE.parents[1] / "serving"
    places = {
        str(path.relative_to(serving))
        for path in serving.rglob("*.py")
        if re.search(r"^class \w+\(.*\bServingError\b.*\):", path.read_text("utf-8"), re.M)
    }
    assert places == {"errors.py"}


def test_every_path_method_and_timeout_header_is_described():
    page = (REFERENCE / "protocol.md").read_text(encoding="utf-8")
    wanted = [f"`{e.value}`" for e in Endpoint] + [h.decode() for h in TIMEOUT_HEADERS] + [*InferenceMethods(None).methods()]
    assert not [w for w in wanted if w not in page]


def test_every_parameter_of_an_answer_is_described():
    page = (REFERENCE / "protocol.md").read_text(encoding="utf-8")
    source = inspect.getsource(answer_parameters)
    given = set(re.findall(r'parameters\["(\w+)"\]', source)) | set(re.findall(r'^ +"(\w+)":', source, re.MULTILINE))
    assert {"revision", "receipt", "degraded"} <= given
    assert not [g for g in given if f"| `{g}` |" not in page]


def test_every_variable_that_is_mentioned_exists():
    of_the_images = re.findall(r"\.(VEDETTE_[A-Z]+)\}\}", (ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    settings = {variable(model, f) for model in SETTINGS for f in model.model_fields}
    known = settings | {*OF_THE_TESTS, *of_the_images, RUN_VARIABLE}
    mentioned = {(name(p), v) for p in PAGES for v in re.findall(r"VEDETTE_[A-Z0-9_]+[A-Z0-9]", p.read_text(encoding="utf-8"))}
    assert not [f"{page}: {variable}" for page, variable in sorted(mentioned) if variable not in known]


def test_one_minimum_of_kuberay_is_stated_everywhere():
    said = {(name(p), v) for p in PAGES for v in re.findall(r"KubeRay (\d+\.\d+)", p.read_text(encoding="utf-8"))}
    assert {v for _, v in said} == {KUBERAY}, sorted(said)
    assert "manifests/README.md" in {page for page, _ in said}
    if os.environ.get("VEDETTE_DATA_DIR"):
        tested = re.search(
            r"kuberay \| \S+ \| v(\d+\.\d+)",
            (Path(os.environ["VEDETTE_DATA_DIR"]) / "crds/README.md").read_text(encoding="utf-8"),
        )
        assert tested is not None
        assert tested[1] == KUBERAY, "the definitions that manifests are checked against"


def test_every_metric_that_is_mentioned_exists():
    all_ = {m.name for m in ALL_METRICS}
    known = all_ | {f"{metric}_{end}" for metric in all_ for end in ("bucket", "sum", "count")}
    mentioned = {
        (name(p), m)
        for p in PAGES
        for m in re.findall(r"\bvedette_[a-z_]+(?:total|seconds\w*|info)\b", p.read_text(encoding="utf-8"))
    }
    assert not [f"{page}: {metric}" for page, metric in sorted(mentioned) if metric not in known]
