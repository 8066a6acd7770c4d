"""Which rows below the bound the model still scores, so that lost attacks are seen. Pure.

A row is chosen by its own values: the same row is chosen again in a replay, in a batch job and by another replica, and no entity has to be
named. Rows of equal values are chosen all or none."""

from collections.abc import Mapping
from functools import lru_cache
from operator import mul
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_BITS: Final = 32
_ALL: Final = 2**64 - 1


def audited(tensors: Mapping[str, NDArray[Any]], rows: NDArray[np.intp], share: float) -> NDArray[np.bool_]:
    """Which of these rows are chosen, shape (len(rows),). tensors: the model's inputs, a row an entry. share: 0..1 of all rows."""
    if share <= 0 or not len(rows):
        return np.zeros(len(rows), dtype=np.bool_)
    if share >= 1:
        return np.ones(len(rows), dtype=np.bool_)
    return row_hashes(tensors, rows) < np.uint64(int(share * 2.0**_BITS))


def is_audited(tensors: Mapping[str, NDArray[Any]], share: float) -> bool:
    """The same of a single row without array operations: a fifth of the time. A property test holds the two equal."""
    if share <= 0 or share >= 1:
        return share >= 1
    words: list[int] = []
    for name in sorted(tensors):
        words += _words(tensors[name].reshape(1, -1))[0].tolist()
    found: int = sum(map(mul, words, _plain_keys(len(words))))
    return (found & _ALL) >> _BITS < int(share * 2.0**_BITS)


def row_hashes(tensors: Mapping[str, NDArray[Any]], rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    """A number of 32 bits for each of these rows, from the bits of its values and nothing else.

    The upper half of a sum of words by keys, modulo 2**64: one product of matrices, whatever the number of columns.
    Source: Lemire & Kaser (2014), "Strongly universal string hashing is fast", Computer Journal 57(11), multilinear hashing."""
    words = [_words(tensors[name][rows].reshape(len(rows), -1)) for name in sorted(tensors)]
    every = words[0] if len(words) == 1 else np.concatenate(words, axis=1)
    keys = _keys(every.shape[1])
    found: NDArray[np.uint64] = every.astype(np.uint64) @ keys
    return found >> np.uint64(_BITS)


def _words(values: NDArray[Any]) -> NDArray[Any]:
    """The bits of values of shape (n, k) in words of at most 32 bits; of text its CRC-32."""
    if values.dtype.hasobject or values.dtype.kind in "US":
        flat = [crc32(v if isinstance(v, bytes) else str(v).encode()) for v in values.ravel().tolist()]
        return np.array(flat, dtype=np.uint32).reshape(values.shape)
    plain = np.ascontiguousarray(values)
    return plain.view(f"u{min(plain.dtype.itemsize, 4)}")


@lru_cache(maxsize=64)
def _keys(number: int) -> NDArray[np.uint64]:
    return np.array(_plain_keys(number), dtype=np.uint64)


@lru_cache(maxsize=64)
def _plain_keys(number: int) -> tuple[int, ...]:
    """So many numbers of 64 bits that never change: the sequence of SplitMix64 from 0. Source: Steele, Lea & Flood (2014), OOPSLA."""
    keys, state = [], 0
    for _ in range(number):
        state = (state + 0x9E3779B97F4A7C15) & _ALL
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _ALL
        keys.append(mixed ^ (mixed >> 31))
    return tuple(keys)
