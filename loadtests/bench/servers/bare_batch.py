"""Bare onnxruntime over Parquet: columns in, the graph with one thread, scores out. `python -m ... KIND STORE INPUT OUTPUT`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.transforms import encode_flows, parse_port

ROWS: Final = 16_384


def main(kind: str, store: str, source: str, target: str) -> None:
    """Score all rows."""
    (graph,) = Path(store).glob("bundles/*/model.onnx")
    manifest = json.loads((graph.parent / "bundle.json").read_text(encoding="utf-8"))
    columns, score = manifest["assembly"][0]["columns"], manifest["score"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.read_bytes(), options)
    name = session.get_inputs()[0].name
    tensors = _ready(Path(source), columns) if kind == "onnxruntime" else _from_flows(Path(source), columns)
    with pq.ParquetWriter(target, pa.schema({"score": pa.float32()}), compression="zstd") as writer:
        for tensor in tensors:
            (output,) = session.run([score["output"]], {name: tensor})
            writer.write_table(pa.table({"score": np.ascontiguousarray(output[:, score["column"]])}))


def _ready(file: Path, columns: list[str]) -> Iterator[Any]:
    for batch in pq.ParquetFile(file).iter_batches(ROWS, columns=columns):
        yield np.column_stack([batch[name].to_numpy() for name in columns])


def _from_flows(folder: Path, columns: list[str]) -> Iterator[Any]:
    names = ["Proto", "State", "Sport", "Dport", "Dur", "TotPkts", "TotBytes", "SrcBytes"]
    for file in sorted(folder.iterdir()):
        for batch in pq.ParquetFile(file).iter_batches(ROWS, columns=names):
            proto, state, sport, dport, *numbers = (batch[name].to_pylist() for name in names)
            fields = {"proto": proto, "state": [s or "" for s in state], "sport": [parse_port(p) for p in sport]}
            fields |= {"dport": [parse_port(p) for p in dport]}
            fields |= dict(zip(("duration", "packets", "bytes", "src_bytes"), numbers, strict=True))
            encoded = {f"flow__{name}": values for name, values in encode_flows(fields).items()}
            tensor = np.zeros((batch.num_rows, len(columns)), dtype=np.float32)
            for at, name in enumerate(columns):
                if name in encoded:
                    tensor[:, at] = encoded[name]
            yield tensor


if __name__ == "__main__":
    main(*sys.argv[1:])
