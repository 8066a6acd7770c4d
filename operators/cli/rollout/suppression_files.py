"""Files of suppressions: YAML or JSON with one field, `suppressions`."""

from pathlib import Path

from pydantic import ValidationError

from operators.cli.console import CommandError
from operators.cli.documents import read_document
from operators.suppression import Suppression
from serving.spec import problem_of_suppressions

_EXPECTED = "`suppressions`, a list of entries with id, owner, reason, expires, when and becomes"


def read_suppressions(path: Path) -> tuple[Suppression, ...]:
    """The entries of a file. Raises CommandError that says which entry and field is wrong."""
    document = read_document(path, _EXPECTED)
    entries = document.get("suppressions")
    if set(document) != {"suppressions"} or not isinstance(entries, list):
        raise CommandError(f"{path}: has the fields {sorted(map(str, document))}; expected {_EXPECTED}")
    found = tuple(_entry(path, number, entry) for number, entry in enumerate(entries))
    problem = problem_of_suppressions(found)
    if problem is not None:
        raise CommandError(f"{path}: suppressions {problem}")
    return found


def _entry(path: Path, number: int, entry: object) -> Suppression:
    try:
        return Suppression.model_validate(entry)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in (f"suppressions[{number}]", *first["loc"]))
        way_out = "; write a time with its offset, e.g. 2026-03-01T00:00:00Z" if first["loc"] == ("expires",) else ""
        raise CommandError(f"{path}: {place}: {first['msg']}{way_out}") from problem
