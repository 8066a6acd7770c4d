"""`vedette registry promote | alias`: which bundle a stage or a name means, with who, when and why."""

from typing import Annotated

import typer

from operators.cli.console import CommandError, Json
from operators.cli.registry.options import Because, ReferenceArgument, RegistryUrl, StoreDir, place, say


def promote(
    reference: ReferenceArgument,
    stage: Annotated[str, typer.Argument(help="none, staging, production or archived.")],
    why: Because,
    registry: RegistryUrl = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Put a bundle into a stage. The former bundle of staging or production becomes archived. This starts no rollout."""
    from lifecycle.governance.registry.history import STAGES, Stage

    stages: dict[str, Stage] = {s: s for s in STAGES}  # type: ignore[misc]
    if stage not in stages:
        raise CommandError(f"{stage!r} is not a stage; expected {', '.join(STAGES)}")
    say(place(store_dir, registry).registry().set_stage(reference, stages[stage], reason(why)), as_json=as_json)


def alias(
    reference: ReferenceArgument,
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="Small letters, digits and `-`; used as NAME:ALIAS.")],
    why: Because,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias; BUNDLE is then the model's name.")] = False,
    registry: RegistryUrl = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Set an alias for a bundle, or move an existing alias to it."""
    opened = place(store_dir, registry).registry()
    after = opened.drop_alias(reference, name, reason(why)) if remove else opened.set_alias(reference, name, reason(why))
    say(after, as_json=as_json)


def reason(why: str) -> str:
    """The reason that was given. Raises CommandError for an empty one."""
    if not why.strip():
        raise CommandError("--why is empty; give the reason in a few words, it is recorded with the change")
    return why
