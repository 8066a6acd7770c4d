"""What programs do not import, because it takes longer than what they do with it."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration
HEAVY = ("dask", "feast", "lightgbm", "onnxruntime", "pandas", "plotly", "ray", "scipy.stats", "sklearn")


@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        pytest.param("operators.cli.main", (*HEAVY, "numpy"), id="the command line, before it knows the verb"),
        pytest.param("serving.models.probe", (*HEAVY, "fastapi"), id="a probe of a bundle"),
        pytest.param(
            "serving.app, serving.launch.pod", ("feast", "pandas", "ray"), id="a pod without Ray, and `vedette score`"
        ),
        pytest.param(
            "lifecycle.evaluation.evaluate, lifecycle.gate.run, operators.labs.forecast",
            ("scipy.stats", "sklearn"),
            id="evaluation, the gate and forecasts: no second for scipy.stats",
        ),
        pytest.param("lifecycle.monitoring.watch.keep_watch", ("sklearn",), id="the monitor: river without its wrappers"),
        pytest.param("serving.rules.ruleset", (*HEAVY, "prompt_toolkit"), id="rules: CEL without its terminal prompt"),
        pytest.param(
            "lifecycle.training.fit", ("sklearn", "scipy.stats"), id="training: LightGBM without wrappers for scikit-learn"
        ),
    ],
)
def test_is_not_imported(module: str, left_out: tuple[str, ...]):
    program = f"import sys, {module}; print(*(n for n in {left_out!r} if sys.modules.get(n)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_what_is_left_out_can_be_imported_later():
    program = (
        "import lifecycle.training.fit, serving.rules.thresholds, cel.cli, sys\n"
        "from importlib.util import find_spec\n"
        "print(cel.cli.__file__, 'sklearn' in sys.modules, find_spec('sklearn') is not None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("cli.py False True\n")


FEAST = """
import typeguard
from typeguard import _decorators

checked, compiled = typeguard.typechecked, []
_decorators.instrument = compiled.append
from feature_repo import quick_feast

quick_feast.load()
from feature_repo.declared import objects_for
from feature_repo.flows import FLOWS

objects_for(FLOWS)
assert compiled == [], f"{len(compiled)} functions were compiled anew"
assert typeguard.typechecked is checked, "others keep their checks"
"""


def test_feast_is_imported_without_the_type_checks_that_take_most_of_the_import():
    done = subprocess.run([sys.executable, "-c", FEAST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


METRICS = """
import os
from feature_repo import quick_feast

before = dict(os.environ)
quick_feast.load()
import feast.metrics, prometheus_client.values

assert dict(os.environ) == before, "processes that are started later know nothing of Feast"
assert prometheus_client.values.ValueClass.__name__ == "MutexValue", "metrics are kept in memory"
"""


def test_feast_does_not_make_the_process_keep_its_metrics_in_files():
    without = {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS_")}
    done = subprocess.run([sys.executable, "-c", METRICS], capture_output=True, text=True, check=False, env=without)
    assert done.returncode == 0, done.stderr
