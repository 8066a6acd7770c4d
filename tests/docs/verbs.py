"""The verbs of the command line, as they describe themselves."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import typer.main


class Option(NamedTuple):
    flags: tuple[str, ...]
    takes_value: bool
    is_argument: bool
    is_needed: bool
    says: str


class Verb(NamedTuple):
    words: tuple[str, ...]
    says: str
    options: tuple[Option, ...]

    @property
    def name(self) -> str:
        return " ".join(("vedette", *self.words))


def verbs() -> tuple[Verb, ...]:
    from operators.cli.main import app

    return tuple(_verbs(typer.main.get_command(app), ()))


def _verbs(command: Any, words: tuple[str, ...]) -> Iterator[Verb]:
    inner = getattr(command, "commands", {})
    if not inner or not words or getattr(command, "invoke_without_command", False):
        yield Verb(words, (command.help or "").split("\n\n")[0], tuple(_option(p) for p in command.params))
    for name, sub in inner.items():
        yield from _verbs(sub, (*words, name))


def _option(parameter: Any) -> Option:
    is_argument = parameter.param_type_name == "argument"
    flags = (parameter.metavar or parameter.name.upper(),) if is_argument else (*parameter.opts, *parameter.secondary_opts)
    takes_value = not is_argument and not parameter.is_flag and not parameter.count
    return Option(tuple(flags), takes_value, is_argument, parameter.required, getattr(parameter, "help", None) or "")


def command_line(verb: Verb) -> str:
    arguments = " ".join(o.flags[0] if o.is_needed else f"[{o.flags[0]}]" for o in verb.options if o.is_argument)
    return f"{verb.name} {arguments}".strip()
