"""The peers that each entity was seen with, a table in the output for each window: `peers/date=.../hour=.../part-0000.parquet`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.batch.data.files import BatchFolder

Hashes = NDArray[np.uint64]


def pair_hashes(entity: Any, peer: Any) -> Hashes:
    """A number for each pair of entity and peer. entity, peer: arrays of text or whole numbers, shape (n,)."""
    first, second = (pd.util.hash_array(np.asarray(v), categorize=True) for v in (entity, peer))
    mixed: Hashes = first * np.uint64(0x9E3779B97F4A7C15) ^ second
    return mixed


def pairs_table(entity: NDArray[Any], peer: NDArray[Any], at_us: NDArray[np.int64]) -> Any:
    """Distinct pairs (a Table): entity, peer, pair (its hash), first_seen."""
    hashes = pair_hashes(entity, peer)
    pairs, first = np.unique(hashes, return_index=True)
    seen = pd.Series(at_us).groupby(hashes).min().reindex(pairs).to_numpy(dtype=np.int64)
    return pa.table(
        {
            "entity": pa.array(entity[first]).cast(pa.string()),
            "peer": pa.array(peer[first]).cast(pa.string()),
            "pair": pa.array(pairs, pa.uint64()),
            "first_seen": pa.array(seen, pa.int64()).cast(pa.timestamp("us", "UTC")),
        }
    )


def seen_before(output: BatchFolder, files: Iterable[str], asked: Hashes) -> NDArray[np.bool_] | None:
    """Which pairs are in these files; None if there are no files, so that nothing is known."""
    found: NDArray[np.bool_] | None = None
    values = pa.array(np.unique(asked), pa.uint64())
    for name in files:
        with output.open(name) as stream:
            pairs = pq.read_table(stream, columns=["pair"])["pair"]
        known = pairs.filter(pc.is_in(pairs, values)).to_numpy()
        matched = np.isin(asked, known)
        found = matched if found is None else found | matched
    return found
