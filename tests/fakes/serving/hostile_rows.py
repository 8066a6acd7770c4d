"""Rows as nobody should send them, a model that takes offence at some of them, and `vedette score` over both.

`python -m tests.fakes.serving.hostile_rows 10000` makes the rows and the model in a folder of their own, scores them, and says whether
every
row was answered or set aside. Each made row knows whether it can be scored, so that a test need not ask the code it tests."""

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from onnx import TensorProto, helper, numpy_helper

from serving.models.build import build_bundle
from serving.models.store import BundleStore

MODEL = "touchy"
GOOD = {"size": 1.5, "count": 7, "small": 200, "name": "host-1", "flag": True}
"""size FP32, count INT64, small UINT8, name BYTES, flag BOOL."""

Made = tuple[bytes, bool]
"""A line of the file, and whether its row can be scored."""


def touchy(store: Path) -> None:
    """Put a model into a store that refuses a count of 1000 and more (an index out of bounds), answers nothing to a size below 0,
    and otherwise answers size + count [n, 1], and the name twice [n, 2]."""
    value, node = helper.make_tensor_value_info, helper.make_node
    nodes = [
        node("Div", ["count", "limit"], ["over"]),
        node("Gather", ["zero", "over"], ["nothing"], axis=0),
        node("Reshape", ["nothing", "column"], ["none"]),
        node("Cast", ["count"], ["counted"], to=TensorProto.FLOAT),
        node("Sum", ["size", "counted", "none"], ["sum_all"]),
        node("GreaterOrEqual", ["size", "zero32"], ["is_kept"]),
        node("Cast", ["flag"], ["flagged"], to=TensorProto.FLOAT),
        node("Cast", ["small"], ["little"], to=TensorProto.FLOAT),
        node("Reshape", ["is_kept", "flat"], ["keep"]),
        node("Sum", ["sum_all", "flagged", "little"], ["total"]),
        node("Compress", ["total", "keep"], ["sum"], axis=0),
        node("Concat", ["name", "name"], ["pairs"], axis=1),
        node("Compress", ["pairs", "keep"], ["names"], axis=0),
    ]
    import numpy as np

    constants = {
        "limit": np.array([[1000]], np.int64), "zero": np.array([0.0], np.float32), "zero32": np.array([[0.0]], np.float32),
        "column": np.array([-1, 1], np.int64), "flat": np.array([-1], np.int64),
    }  # fmt: skip
    kinds = {"size": TensorProto.FLOAT, "count": TensorProto.INT64, "small": TensorProto.UINT8, "name": TensorProto.STRING}
    graph = helper.make_graph(
        nodes, MODEL,
        [value(n, kind, [None, 1]) for n, kind in {**kinds, "flag": TensorProto.BOOL}.items()],
        [value("sum", TensorProto.FLOAT, [None, 1]), value("names", TensorProto.STRING, [None, 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with TemporaryDirectory() as scratch:
        BundleStore(store).add(build_bundle(Path(scratch) / "bundle", model=model, name=MODEL, version="1"))


def _numbers(rng: random.Random) -> str:
    """A JSON number, or what Python and others write for one."""
    return rng.choice([
        "0", "-0.0", "1e39", "-1e39", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1e-999", "3.4028235e38", "3.4028236e38",
        "9" * 400, "-" + "9" * 400, "1." + "0" * 400, "9223372036854775807", "9223372036854775808", "-9223372036854775809", "255",
        "256", "-1", "1.5", "1e3", "999", "1000", "999.0", "65520", str(rng.randint(-(2**70), 2**70)), str(rng.uniform(-2, 2)),
    ])  # fmt: skip


def _things(rng: random.Random) -> str:
    """Any other JSON value."""
    return rng.choice([
        "null", "true", "false", '""', '"x"', '"1"', '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"é"', '"\\ud83d\\ude00"', "[]",
        "{}", "[1]", '{"a": 1}', "[[[[1]]]]", '"' + "a" * 5000 + '"',
    ])  # fmt: skip


def can_be_scored(row: object) -> bool:
    """What `touchy` takes, said once more in plain words."""
    if not isinstance(row, dict):
        return False
    size, count, small, name, flag = (row.get(n) for n in GOOD)
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in (size, count, small)):
        return False
    if not (0 <= size < (2 - 2**-24) * 2.0**127):
        return False
    if not all(isinstance(n, int) or (math.isfinite(n) and n.is_integer()) for n in (count, small)):
        return False
    if not (-2000 < count < 1000 and 0 <= small <= 255 and isinstance(flag, bool)):
        return False
    return isinstance(name, str | int | float | bool) and not any(0xD800 <= ord(c) < 0xE000 for c in str(name))


def _odd_value(rng: random.Random) -> Made:
    column = rng.choice(list(GOOD))
    parts = {n: json.dumps(v) for n, v in GOOD.items()}
    parts[column] = _numbers(rng) if rng.random() < 0.6 else _things(rng)
    line = "{" + ", ".join(f"{json.dumps(n)}: {v}" for n, v in parts.items()) + "}"
    return line.encode(), can_be_scored(json.loads(line))


def _lacking(rng: random.Random) -> Made:
    gone = rng.choice(list(GOOD))
    return json.dumps({n: v for n, v in GOOD.items() if n != gone}).encode(), False


def _with_more(rng: random.Random) -> Made:
    return json.dumps({**GOOD, "row": -1, "error": "none", f"x{rng.random()}": [None]}).encode(), True


def _no_row(rng: random.Random) -> Made:
    return rng.choice([
        b"{", b"}", b"[1, 2]", b"null", b"7", b'"text"', b"{'size': 1}", b"\xff\xfe\xfd", b"\xef\xbb\xbf{", b"\x00", b"// no",
        b'{"size": 1,}', b"[" * 20_000, b'{"a":' * 20_000, b'{"size": ' + b"9" * 5000 + b"}", rng.randbytes(40).replace(b"\n", b"?") + b"#",
    ]), False  # fmt: skip


def _refused(rng: random.Random) -> Made:
    return json.dumps({**GOOD, "count": rng.randint(1000, 10**6)}).encode(), False


def _dropped(rng: random.Random) -> Made:
    return json.dumps({**GOOD, "size": -rng.random() - 0.1}).encode(), False


def _right(rng: random.Random) -> Made:
    return json.dumps({**GOOD, "size": rng.random() * 1e6, "count": rng.randint(-900, 900)}).encode(), True


KINDS: tuple[Callable[[random.Random], Made], ...] = (_odd_value, _odd_value, _lacking, _with_more, _no_row, _refused, _dropped)


def hostile_rows(count: int, seed: int = 0) -> Iterator[Made]:
    """Rows of all kinds, right ones between them; no row of a kind is alone in its neighbourhood."""
    rng = random.Random(seed)
    for _ in range(count):
        yield _right(rng) if rng.random() < 0.3 else rng.choice(KINDS)(rng)


def write(folder: Path, count: int, seed: int = 0) -> tuple[Path, Path, list[bool]]:
    """The rows' file, the store with the model, and which rows can be scored."""
    made = list(hostile_rows(count, seed))
    file = folder / "hostile.jsonl"
    file.write_bytes(b"\n".join(line for line, _ in made) + b"\n")
    touchy(folder / "store")
    return file, folder / "store", [is_right for _, is_right in made]


def main() -> None:
    """See the module."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with TemporaryDirectory(prefix="hostile-") as scratch:
        file, store, right = write(Path(scratch), count)
        out = Path(scratch) / "out.jsonl"
        words = ["score", str(file), "--model", MODEL, "--store-dir", str(store), "--out", str(out), "--json"]
        done = subprocess.run([sys.executable, "-m", "operators.cli.main", *words], stdout=subprocess.PIPE, check=True)
        lines = [json.loads(line) for line in out.read_bytes().splitlines()]
        agree = sum(("error" not in line) is is_right for line, is_right in zip(lines, right, strict=True))
        print(done.stdout.decode(), end="")
        print(f"{count} rows, {len(lines)} lines, {sum(right)} can be scored; {agree} became what they should")
        if agree != count or [line["row"] for line in lines] != list(range(count)):
            sys.exit(1)


if __name__ == "__main__":
    main()
