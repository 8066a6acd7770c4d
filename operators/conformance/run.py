"""Goes through the checks: asks, sends, judges, and keeps what came of each.

Knows neither tables nor sockets: `exchange` is given, and every result is yielded as it comes."""

from collections.abc import Iterator, Sequence
from time import perf_counter

from operators.conformance.transport import Exchange
from operators.conformance.values import Check, Failed, Level, ModelFacts, Result, ServerFacts, Skipped, Status, Subject


def plan(
    checks: Sequence[Check], server: ServerFacts, models: Sequence[ModelFacts], only: Sequence[str] = ()
) -> list[tuple[Check, ModelFacts]]:
    """Which checks to run on which model. only: ids, or the beginnings of ids up to a dot, e.g. `http.binary`."""
    doors = {"http": server.has_http, "grpc": server.has_grpc}
    chosen = [c for c in checks if doors[c.door] and (not only or any(c.id == o or c.id.startswith(f"{o}.") for o in only))]
    return [(check, model) for check in chosen for model in (models if check.per_model else models[:1])]


def run(planned: Sequence[tuple[Check, ModelFacts]], server: ServerFacts, exchange: Exchange) -> Iterator[Result]:
    """Run the checks in order."""
    for check, model in planned:
        began = perf_counter()
        status, detail = _judged(check, Subject(server, model), exchange)
        yield Result(check, model.name if check.per_model else None, status, detail, perf_counter() - began)


def _judged(check: Check, subject: Subject, exchange: Exchange) -> tuple[Status, str]:
    try:
        return Status.PASS, check.judge(subject, exchange(check.ask(subject))) or ""
    except Failed as failed:
        return Status.FAIL, str(failed)
    except Skipped as skipped:
        return Status.SKIP, str(skipped)


def broken(results: Sequence[Result], level: Level | None = None) -> list[Result]:
    """The failed results, of one level if given."""
    return [r for r in results if r.status is Status.FAIL and level in (None, r.check.level)]
