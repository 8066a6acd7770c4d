"""Models as other people export them: what tests/e2e/test_foreign_models.py has served. Their libraries are imported when one is made."""

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper

Inputs = dict[str, np.ndarray]


def strings(values: list[str]) -> np.ndarray:
    """A column [n, 1] of strings."""
    return np.array(values, dtype=object).reshape(-1, 1)


def pipeline(folder: Path) -> tuple[Path, Inputs]:
    """A scikit-learn pipeline over a data frame: two numbers, an integer and a word; label and probabilities out (with ZipMap)."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "sent": rng.gamma(2.0, 500, 200).astype(np.float32),
            "received": rng.gamma(2.0, 900, 200).astype(np.float32),
            "port": rng.choice([22, 53, 80, 443], 200),
            "proto": rng.choice(["tcp", "udp", "icmp"], 200),
        }
    )
    attack = (frame["sent"] > frame["received"]) & (frame["proto"] != "udp")
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["sent", "received", "port"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["proto"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame, np.where(attack, "attack", "benign"))
    types = [
        ("sent", FloatTensorType([None, 1])),
        ("received", FloatTensorType([None, 1])),
        ("port", Int64TensorType([None, 1])),
        ("proto", StringTensorType([None, 1])),
    ]
    path = folder / "pipeline.onnx"
    path.write_bytes(to_onnx(model, initial_types=types, target_opset=17).SerializeToString())
    some = frame.head(5)
    inputs = {
        "sent": some[["sent"]].to_numpy(np.float32),
        "received": some[["received"]].to_numpy(np.float32),
        "port": some[["port"]].to_numpy(np.int64),
        "proto": strings(some["proto"].tolist()),
    }
    return path, inputs


def two_words(folder: Path) -> tuple[Path, Inputs]:
    """Two string inputs, a label and a probability matrix out (without ZipMap)."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(11)
    frame = pd.DataFrame({"user": rng.choice(["root", "alice", "bob"], 120), "verb": rng.choice(["GET", "POST", "PUT"], 120)})
    label = ((frame["user"] == "root") & (frame["verb"] != "GET")).astype(np.int64)
    columns = ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), ["user", "verb"])])
    model = make_pipeline(columns, RandomForestClassifier(n_estimators=10, random_state=3)).fit(frame, label)
    types = [("user", StringTensorType([None, 1])), ("verb", StringTensorType([None, 1]))]
    options = {id(model): {"zipmap": False}}
    path = folder / "two_words.onnx"
    path.write_bytes(to_onnx(model, initial_types=types, options=options, target_opset=17).SerializeToString())
    return path, {"user": strings(["root", "alice", "mallory ü"]), "verb": strings(["PUT", "GET", "DELETE"])}


def half(folder: Path) -> tuple[Path, Inputs]:
    """FP16 [n, m] and FP16 [m] in; their product FP16 and the sign as BOOL out: several dynamic dimensions, several outputs."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "weights"], ["weighted"]),
            helper.make_node("Greater", ["weighted", "zero"], ["is_positive"]),
        ],
        "half",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", "m"]),
            helper.make_tensor_value_info("weights", TensorProto.FLOAT16, ["m"]),
        ],
        [
            helper.make_tensor_value_info("weighted", TensorProto.FLOAT16, ["n", "m"]),
            helper.make_tensor_value_info("is_positive", TensorProto.BOOL, ["n", "m"]),
        ],
        [helper.make_tensor("zero", TensorProto.FLOAT16, [], [0.0])],
    )
    path = folder / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path, {"x": np.array([[1.5, -2.0, 0.25]], np.float16), "weights": np.array([2.0, 3.0, 4.0], np.float16)}
