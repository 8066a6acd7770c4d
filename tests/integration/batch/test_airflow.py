"""The DAG of the documentation, read by Airflow's own DagBag; its commands are ones that the command line takes."""

import json
import os
import shlex
import subprocess

import pytest
from typer.main import get_command

from loadtests.bench.peers import ROOT
from operators.cli.main import app
from tests.integration.batch.peer_python import peer_python

pytestmark = pytest.mark.integration

PROGRAM = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
def told(t):
    return [sorted(t.downstream_task_ids), t.bash_command, t.retries]
dags = [{"id": d.dag_id, "active": d.max_active_runs, "tasks": {t.task_id: told(t) for t in d.tasks}} for d in bag.dags.values()]
print("DAGS" + json.dumps({"errors": {str(k): v for k, v in bag.import_errors.items()}, "dags": dags}))
"""


def test_airflow_reads_the_dag_of_the_documentation(tmp_path):
    python = peer_python("airflow")
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "HOME": str(tmp_path)}
    for command in (["-m", "airflow", "db", "migrate"], ["-c", PROGRAM, str(ROOT / "docs" / "examples" / "airflow")]):
        done = subprocess.run(
            [str(python), *command],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("DAGS")]
    found = json.loads(line.removeprefix("DAGS"))
    assert found["errors"] == {}
    (dag,) = found["dags"]
    assert (dag["id"], dag["active"]) == ("vedette_batch", 1)
    assert dag["tasks"]["verdicts"][0] == ["risks"]
    for _, command, retries in dag["tasks"].values():
        assert retries > 0
        filled = command.replace("{{ data_interval_start | ts }}", "2026-01-05T09:00:00+00:00")
        filled = filled.replace("{{ data_interval_end | ts }}", "2026-01-05T10:00:00+00:00")
        for name, path in (("events", "/data/events"), ("verdicts", "/data/verdicts")):
            filled = filled.replace(f"{{{{ var.value.get('vedette_{name}', '{path}') }}}}", path)
        program, verb, *words = shlex.split(filled)
        assert (program, verb) == ("vedette", "batch")
        with get_command(app).commands["batch"].make_context("batch", words) as context:
            assert context.params["since"] == "2026-01-05T09:00:00+00:00"
