"""A YAML or JSON document that an option names: read, or one message that says which file and why."""

from pathlib import Path
from typing import Any

from operators.cli.console import CommandError


def read_document(path: Path, expected: str) -> dict[str, Any]:
    """The mapping that a file holds. expected: what the verb wants there, for the message. Raises CommandError."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise CommandError(f"{path}: {reason(problem)}; expected {expected}") from problem
    except UnicodeDecodeError as problem:
        raise CommandError(f"{path}: is not UTF-8 text; expected {expected}") from problem
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # ValueError: of a date that there is not
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
