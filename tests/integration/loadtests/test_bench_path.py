"""The benchmarks of the path within the process run, and compare like with like."""

import pytest

from loadtests.bench.benchmarks import batching, path


@pytest.mark.integration
def test_a_quick_run_of_the_path():
    rows = {row.name: row for row in path.run(quick=True, rounds=1)}
    assert rows["path/vedette/json"].ratio_to == "path/bare/json"
    stages = sum(rows[f"path/vedette/{stage}"].value for stage in ("decode", "infer", "encode"))
    assert rows["path/vedette/json"].value < 3 * stages
    assert rows["path/vedette/1000"].ratio < 10  # how much less is for a quiet machine to say


@pytest.mark.integration
def test_a_quick_run_of_batching():
    rows = {row.name: row for row in batching.run(quick=True, rounds=1)}
    assert {name.split("/")[2] for name in rows} == {"trees", "mlp", "small-mlp"}
    assert rows["batching/batched/mlp/32"].ratio_to == "batching/single/mlp/32"
