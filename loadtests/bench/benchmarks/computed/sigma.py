"""SIGMA: microseconds an event, for every rule in turn and for the compiled matcher, side by side.

Events are the public regression events; each round takes them all in another order, so that no automaton sees one input again and
again. Public rules stand in for a full set: each is varied (letters of its values changed) until there are 3,700, as many as the
public collection has. `every rule` is each rule's own test on an event that is already read, with its log source checked first:
naive in that nothing is indexed, and kinder than most. Figures of CPU time, reading the event's JSON apart."""

import copy
import gc
import os
import random
import string
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row

FULL: Final = 3_700
SUBSET: Final = 50
_PASSES: Final = 3
File = tuple[str, str]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if the public rules and events are not there."""
    from serving.rules.events import Event, fields_of_json
    from serving.rules.matcher import compile_sigma
    from serving.rules.predicates import test_of

    files, events = public()
    full = FULL // 10 if quick else FULL
    sets = {"subset": files[:SUBSET], "all": variants(files, full)}
    found: list[Row] = []
    for name, chosen in sets.items():
        started = time.process_time()
        compiled = compile_sigma(chosen)
        _say(f"sigma: {len(compiled.rules)} rules compiled in {time.process_time() - started:.1f} s of CPU")
        tests = [(rule.source, test_of(rule.when)) for rule in compiled.rules]

        def naive(body: bytes, compiled: Any = compiled, tests: Any = tests) -> int:
            fields, _ = fields_of_json(body)
            sources, event = set(compiled.sources.of(fields).covered(source for source, _ in tests)), Event(fields)
            return sum(1 for source, test in tests if source in sources and test(event))

        def indexed(body: bytes, compiled: Any = compiled) -> int:
            fields, _ = fields_of_json(body)
            return len(compiled.match(fields))

        if any(naive(body) != indexed(body) for body in events):
            raise BenchError(f"sigma: the matcher and every rule in turn disagree on {name}")
        found += _compare(f"sigma/{name}/{len(chosen)} rules", naive, indexed, events, rounds)
    reading = [_cpu_us(fields_of_json, events, seed) for seed in range(rounds)]
    return [*found, row("sigma/reading the event", reading, "us/event")]


def _compare(
    name: str, naive: Callable[[bytes], int], indexed: Callable[[bytes], int], events: Sequence[bytes], rounds: int
) -> list[Row]:
    slow, fast = [], []
    for seed in range(rounds):
        slow.append(_cpu_us(naive, events, seed))
        fast.append(_cpu_us(indexed, events, seed))
    return [
        row(f"{name}/every rule", slow, "us/event"),
        row(f"{name}/compiled", fast, "us/event", against=(f"{name}/every rule", slow)),
    ]


def _cpu_us(work: Callable[[bytes], object], events: Sequence[bytes], seed: int) -> float:
    order = [e for _ in range(_PASSES) for e in events]
    random.Random(seed).shuffle(order)  # nosec B311  # a seed, no secret
    gc.collect()
    started = time.process_time()
    for body in order:
        work(body)
    return (time.process_time() - started) / len(order) * 1e6


def public() -> tuple[list[File], list[bytes]]:
    """The public rules and events. Raises BenchError if they are not there."""
    folder = os.environ.get("VEDETTE_DATA_DIR")
    if folder is None or not (Path(folder) / "sigma").is_dir():
        raise BenchError("sigma: needs public rules and events; set VEDETTE_DATA_DIR to the folder with sigma/")
    root = Path(folder) / "sigma"
    files = [(p.name, p.read_text(encoding="utf-8")) for p in sorted((root / "rules").glob("*.yml"))]
    random.Random(0).shuffle(files)  # nosec B311  # a seed: a subset is of all kinds
    return files, [p.read_bytes() for p in sorted((root / "events").glob("*.json"))]


def variants(files: Sequence[File], number: int) -> list[File]:
    """The rules, and copies of them with two letters of each value changed, `number` in all."""
    rng, found, documents = random.Random(1), list(files), [yaml.safe_load(text) for _, text in files]  # nosec B311  # a seed, no secret
    while len(found) < number:
        document = copy.deepcopy(documents[len(found) % len(documents)])
        document["id"] = str(uuid.UUID(int=rng.getrandbits(128)))
        document["detection"] = _varied(document["detection"], rng)
        found.append((f"variant-{len(found)}.yml", yaml.safe_dump(document)))
    return found[:number]


def _varied(value: Any, rng: random.Random, key: str = "") -> Any:
    if isinstance(value, dict):
        return {k: v if k == "condition" else _varied(v, rng, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_varied(v, rng, key) for v in value]
    if not isinstance(value, str) or len(value) < 5 or "|re" in key or "fieldref" in key:
        return value
    letters = list(value)
    for at in rng.sample(range(len(letters)), 2):
        if letters[at].isalnum():
            letters[at] = rng.choice(string.ascii_lowercase)
    return "".join(letters)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
