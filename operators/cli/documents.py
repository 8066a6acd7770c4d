"""A YAML or JSON document that an option names: read, or one message that says which file and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from operators.cli.console import CommandError

if TYPE_CHECKING:
    from operators.suppression import Suppression

_SUPPRESSIONS: Final = "`suppressions`, a list of entries with id, owner, reason, expires, when and becomes"


def read_document(path: Path, expected: str) -> dict[str, Any]:
    """The mapping that a file holds. expected: what the verb wants there, for the message. Raises CommandError."""
    import yaml

    from serving.files.safe_yaml import read_yaml

    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise CommandError(f"{path}: {reason(problem)}; expected {expected}") from problem
    except UnicodeDecodeError as problem:
        raise CommandError(f"{path}: is not UTF-8 text; expected {expected}") from problem
    except yaml.YAMLError as problem:
        raise CommandError(f"{path}: cannot be read as YAML or JSON: {' '.join(str(problem).split())}") from problem
    if not isinstance(document, dict):
        raise CommandError(f"{path}: holds no fields; expected {expected}")
    return document


def reason(problem: OSError) -> str:
    """What the system says, without its number and path.

    >>> reason(FileNotFoundError(2, "No such file or directory", "x.yaml"))
    'no such file or directory'
    """
    return problem.strerror.lower() if problem.strerror else str(problem)


def read_suppressions(path: Path) -> "tuple[Suppression, ...]":
    """The entries of a file. Raises CommandError that says which entry and field is wrong."""
    from serving.spec import problem_of_suppressions

    document = read_document(path, _SUPPRESSIONS)
    entries = document.get("suppressions")
    if set(document) != {"suppressions"} or not isinstance(entries, list):
        raise CommandError(f"{path}: has the fields {sorted(map(str, document))}; expected {_SUPPRESSIONS}")
    found = tuple(_suppression(path, number, entry) for number, entry in enumerate(entries))
    problem = problem_of_suppressions(found)
    if problem is not None:
        raise CommandError(f"{path}: suppressions {problem}")
    return found


def _suppression(path: Path, number: int, entry: object) -> "Suppression":
    from pydantic import ValidationError

    from operators.suppression import Suppression

    try:
        return Suppression.model_validate(entry)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in (f"suppressions[{number}]", *first["loc"]))
        way_out = "; write a time with its offset, e.g. 2026-03-01T00:00:00Z" if first["loc"] == ("expires",) else ""
        raise CommandError(f"{path}: {place}: {first['msg']}{way_out}") from problem
