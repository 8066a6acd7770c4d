"""The Scorer in Spark's own workers: a local Spark maps it over frames, and the scores are the graph's."""

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from loadtests.bench.peers import ROOT
from serving.models.onnx import OnnxModel
from tests.integration.batch.peer_python import peer_python

pytestmark = pytest.mark.integration

PROGRAM = """
import sys
from pyspark.sql import SparkSession
from serving.app import compose
from serving.batch.spark import map_scorer, spark_schema
bundle, source, target = sys.argv[1:]
if __name__ == "__main__":
    spark = (
        SparkSession.builder.master("local[2]").config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false").config("spark.sql.execution.arrow.maxRecordsPerBatch", "700").getOrCreate()
    )
    keep = "flow_id bigint"
    rows = spark.read.parquet(source).repartition(3)
    rows.mapInPandas(map_scorer(bundle, compose, keep=keep), spark_schema(bundle, keep=keep)).write.parquet(target)
    spark.stop()
"""


def test_spark_scores_as_the_graph_does(flows_store, tmp_path):
    python = peer_python("spark")
    (bundle,) = [path.parent for path in flows_store.glob("bundles/*/bundle.json")]
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    names = manifest["assembly"][0]["columns"]
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 50, (2000, len(names))).astype(np.float32)
    frame = pd.DataFrame(values.astype(np.float64), columns=names).assign(flow_id=np.arange(2000))
    frame.loc[7, names[3]] = np.nan
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [str(python), str(tmp_path / "program.py"), str(bundle), str(tmp_path / "rows.parquet"), str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": str(python), "SPARK_LOCAL_IP": "127.0.0.1", "HOME": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = pq.read_table(tmp_path / "out").to_pandas().sort_values("flow_id").reset_index(drop=True)
    assert found["flow_id"].tolist() == list(range(2000))
    score = manifest["score"]
    expected = OnnxModel((bundle / "model.onnx").read_bytes()).run({"features": values}, [score["output"]])[score["output"]][
        :, score["column"]
    ]
    good = found["error"].isna()
    assert found.index[~good].tolist() == [7]
    assert names[3] in found["error"][7]
    assert np.abs(found["score"][good] - expected[good.to_numpy()]).max() < 1e-6
    assert set(found["verdict"][good]) <= {"benign", "investigate", "alert"}
    assert found["revision"][good].nunique() == found["model"][good].nunique() == 1
