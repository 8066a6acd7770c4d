"""`vedette retrain policy`: a complete policy with a comment on each field, to begin with; or the JSON schema of policies."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import CommandError, Json, errors


def policy(
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file, which must not be there yet (default: stdout).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a complete policy with comments. With --json, the JSON schema of policy files."""
    from lifecycle.retraining.policy import RetrainingPolicy
    from lifecycle.retraining.policy_text import commented_policy

    text = json.dumps(RetrainingPolicy.model_json_schema(), indent=2) + "\n" if as_json else commented_policy()
    if out is None:
        sys.stdout.write(text)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CommandError(f"--out {out}: exists already; give another name, or remove it") from None
    errors.print(f"written: {out}", markup=False)
