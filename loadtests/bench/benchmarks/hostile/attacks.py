"""What honest clients feel while one client attacks: the same replica over TLS, in turn left alone and attacked.

Honest: wrk with 8 kept connections. Attacks are loadtests.bench.load.attackers, one process each; every figure is against the figure of
the round before it without an attack. An attack also takes some of the machine's cores, which the ratio includes."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from loadtests.bench.benchmarks.doors import DoorFigures, all_up, bring_up, cell
from loadtests.bench.benchmarks.hostile.tls import with_tls, write_certificate
from loadtests.bench.errors import BenchError
from loadtests.bench.load.attackers import ATTACKS
from loadtests.bench.process import Running, python
from loadtests.bench.report import Row, row
from loadtests.bench.workload import Workload, build_workload

IS_LONG: Final = True
CLIENTS: Final = 8
PATIENCE_S: Final = 60.0
_FIGURES: Final = (("p50", "ms", "p50_ms"), ("p99", "ms", "p99_ms"), ("rate", "req/s", "rate"))


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure each attack in turn with rest."""
    duration_s = 2.0 if quick else 4.0
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        place = Path(folder)
        workload, found = build_workload(place), DoorFigures()
        write_certificate(place)
        up = bring_up(stack, [("tls", lambda: with_tls(workload, place))], workload, found)
        all_up(up, 1, found)
        cell("http", up[0], workload, clients=CLIENTS, index=0, duration_s=1.0)
        return [each for kind in ATTACKS for each in _attacked(up[0], workload, kind, rounds, duration_s)]


def _attacked(server: Running, workload: Workload, kind: str, rounds: int, duration_s: float) -> list[Row]:
    alone, under = [], []
    for index in range(rounds):
        alone.append(cell("http", server, workload, clients=CLIENTS, index=index, duration_s=duration_s))
        words = (kind, str(server.http_port), str(server.grpc_port), str(duration_s + 2))
        with attacking(python("loadtests.bench.load.attackers", *words), kind):
            time.sleep(1.0)
            under.append(cell("http", server, workload, clients=CLIENTS, index=index, duration_s=duration_s))
    return [
        row(
            f"{kind}/c{CLIENTS}/{figure}",
            [getattr(s, attribute) for s in under],
            unit,
            against=(f"alone/c{CLIENTS}/{figure}", [getattr(s, attribute) for s in alone]),
        )
        for figure, unit, attribute in _FIGURES
    ]


@contextmanager
def attacking(command: Sequence[str], kind: str) -> Iterator[None]:
    """An attack goes on while the block runs, and to its own end. Raises BenchError if it failed or had not one step: what clients felt
    then was no attack."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
        try:
            yield
            said, _ = attacker.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as late:
            raise BenchError(f"the attack {kind} did not end {PATIENCE_S:.0f} s after the load") from late
        finally:
            attacker.kill()
    if attacker.returncode != 0 or not int(said or 0):
        raise BenchError(
            f"the attack {kind} ended with status {attacker.returncode} after {said.strip() or 0} steps: it was none"
        )
