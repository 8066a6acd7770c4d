"""Events of the shipped detectors, as a client would send them: from the detector's real capture if there is one, else generated.

The training room knows a detector's source, its column names and the time of an event. There are no events if that room is not
installed, or for a model that is not a shipped detector."""

import importlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

KEPT: Final = 5000
"""The most events held in memory. Users cycle through them."""

Event = Mapping[str, Any]


def events_of(model: str, data_dir: Path | None) -> tuple[str, list[Event]] | None:
    """Where events of a model come from, and at most KEPT of them, with the model's own column names. None if there are none for this
    model."""
    try:
        detectors = importlib.import_module("lifecycle.datasets.declarations")
        sending = importlib.import_module("lifecycle.training.client_rows")
    except ImportError:
        return None
    if not (detectors.BUILT_IN / f"{model}.yaml").is_file():
        return None
    detector = detectors.read_detector(model)
    capture = next(data_dir.glob(f"*/{detector.source.train}"), None) if data_dir and detector.source.train else None
    if capture is not None and capture.suffix == ".parquet":
        rows = parquet_rows(capture)
    elif detector.source.generator:
        capture, rows = None, _generated()
    else:
        return None
    send = sending.sender(detector)
    return str(capture or "generated flows"), [_plain(send(row)) for row in rows]


def parquet_columns(file: Path) -> list[str]:
    """Column names of a Parquet file."""
    from pyarrow import parquet  # only a capture needs it

    names: list[str] = parquet.read_schema(file).names
    return names


def parquet_rows(file: Path) -> list[Event]:
    """The first rows of a Parquet file, at most KEPT."""
    from pyarrow import parquet

    batch = next(parquet.ParquetFile(file).iter_batches(KEPT), None)
    rows: list[Event] = [] if batch is None else batch.to_pylist()
    return rows


def _generated() -> list[Event]:
    generate = importlib.import_module("lifecycle.datasets.synthetic_flows").generate_flows
    rows: list[Event] = list(islice(generate(1, hosts=40, flows_per_host=50).to_dict("records"), KEPT))
    return rows


def _plain(event: Mapping[str, Any]) -> Event:
    """An event with its times as RFC 3339 text, as the protocol has them."""
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in event.items()}


def stream_events_of(model: str, data_dir: Path | None) -> tuple[str, list[tuple[bytes, dict[str, Any]]]]:
    """Where events of a shipped detector come from, and their keys and bodies as a sensor would produce them. Raises ValueError if there
    are none."""
    try:
        detectors = importlib.import_module("lifecycle.datasets.declarations")
        sending = importlib.import_module("lifecycle.training.client_events")
    except ImportError as problem:
        raise ValueError("events for Kafka come from the training room: install the extra `lifecycle`") from problem
    if not (detectors.BUILT_IN / f"{model}.yaml").is_file():
        raise ValueError(f"model {model!r} is no shipped detector, so there are no events of it for Kafka")
    detector = detectors.read_detector(model)
    capture = next(data_dir.glob(f"*/{detector.source.train}"), None) if data_dir and detector.source.train else None
    if capture is not None and capture.suffix == ".parquet":
        from pyarrow import parquet

        frame = next(parquet.ParquetFile(capture).iter_batches(KEPT)).to_pandas()
    elif detector.source.generator:
        frame = importlib.import_module("lifecycle.datasets.synthetic_flows").generate_flows(1, hosts=40, flows_per_host=50)
    else:
        raise ValueError(f"model {model!r} needs a capture {detector.source.train} below VEDETTE_DATA_DIR")
    return str(capture or "generated flows"), [(e.key.encode(), dict(e.body)) for e in sending.client_events(detector, frame)]
