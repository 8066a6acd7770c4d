"""Verbs for a rollout under way. Each leaves a request with the person and the reason; the control loop decides and acts.

What approvers say is signed where they have a key. Whether it counts is decided by lifecycle.governance.approvals."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json
from operators.cli.control_plane import ControlPlaneChoice, Name, Why, send_verb, with_control_plane

if TYPE_CHECKING:
    from lifecycle.governance.approvals.note import ApprovalSubject
    from operators.control.port import Control
    from serving.audit.signed_note import Signer


KeyFile = Annotated[
    Path | None, typer.Option("--key", help="Your private key (PEM), to sign with; `vedette audit key new` makes one.")
]
KeyName = Annotated[
    str | None, typer.Option(help="Name of the key in people.yaml (default: the name there, else the name of FILE).")
]
RoleOption = Annotated[str | None, typer.Option("--role", help="Role in which you approve (default: the first missing role).")]


@with_control_plane
def promote(
    choice: ControlPlaneChoice,
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Skip every remaining step and analysis.")] = False,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Go on to the next step without waiting for the end of this one."""
    from operators.control.verb_requests import expected_step

    control = choice.open()
    args = expected_step(control.read(name))
    send_verb(control, name, "promote-full" if full else "promote", why, as_json=as_json, args=args)


def _verb(verb: str, help_text: str) -> Callable[..., None]:
    """A command that sends one verb without arguments."""

    def command(choice: ControlPlaneChoice, name: Name, why: Why = "", as_json: Json = False) -> None:
        send_verb(choice.open(), name, verb, why, as_json=as_json)

    command.__name__, command.__doc__ = verb, help_text
    return with_control_plane(command)


pause = _verb("pause", "Pause the rollout. Evidence is still collected, and a worse candidate is still aborted.")
resume = _verb("resume", "End a pause.")
abort = _verb("abort", "Give all traffic back to stable at once.")
retry = _verb("retry", "Start an aborted rollout again from its first step, with fresh evidence.")
undo = _verb("undo", "Give all traffic back to the former stable; takes effect at once within the rollback window.")


@with_control_plane
def approve(
    choice: ControlPlaneChoice,
    name: Name,
    key: KeyFile = None,
    key_name: KeyName = None,
    role: RoleOption = None,
    expires: Annotated[str | None, typer.Option(help="The approval expires after this time, e.g. 4h.")] = None,
    break_glass: Annotated[
        bool,
        typer.Option(
            "--break-glass", help="Pass the step alone, in an emergency. An alarm stays on until somebody reviews it."
        ),
    ] = False,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Approve the current approval step. With --key the approval is signed; it counts for this revision, step and rollout only."""
    from operators.control.verb_requests import expected_step, missing_role, seen_evidence, subject_of

    control = choice.open()
    record = control.read(name)
    status = record.status
    verb = "break-glass" if break_glass else "approve"
    by, signer = _speaker(control, key, key_name)
    chosen = role or missing_role(control, record, by)
    groups = control.groups()
    args = expected_step(record) | ({"groups": ",".join(groups)} if groups else {}) | ({"role": chosen} if chosen else {})
    if status.is_under_way and status.candidate is not None:
        args |= {"evidence": seen_evidence(record)} | ({"attempt": status.attempt} if status.attempt else {})
    if signer is not None:
        subject = subject_of(record)
        if subject is None:
            raise CommandError(f"no rollout of {name} is under way (phase {status.phase}); there is nothing to sign")
        args["note"] = _note(subject, verb, by, signer, chosen, expires, args.get("evidence", ""), why)
    elif expires is not None:
        raise CommandError("--expires is part of the signed note; give --key FILE too")
    send_verb(control, name, verb, why, as_json=as_json, args=args, by=by)


@with_control_plane
def reject(choice: ControlPlaneChoice, name: Name, why: Why = "", as_json: Json = False) -> None:
    """Reject the current approval step, which aborts the rollout. Needs --why."""
    from operators.control.verb_requests import expected_step

    control = choice.open()
    send_verb(control, name, "reject", why, as_json=as_json, args=expected_step(control.read(name)))


@with_control_plane
def review(
    choice: ControlPlaneChoice, name: Name, key: KeyFile = None, key_name: KeyName = None, why: Why = "", as_json: Json = False
) -> None:
    """Review a step that was passed with --break-glass, which ends its alarm. Needs --why."""
    control = choice.open()
    record = control.read(name)
    by, signer = _speaker(control, key, key_name)
    args = {}
    if signer is not None:
        if not record.status.break_glass:
            raise CommandError(f"no step of {name} was passed by break-glass; there is nothing to sign")
        from lifecycle.governance.approvals.note import ApprovalSubject
        from operators.control.verb_requests import service_words

        last = record.status.break_glass[-1]
        subject = ApprovalSubject(service_words(record), last.attempt, last.revision, last.step)
        args = {"note": _note(subject, "review", by, signer, None, None, "", why)}
    send_verb(control, name, "review", why, as_json=as_json, args=args, by=by)


def _speaker(control: "Control", key: Path | None, key_name: str | None) -> "tuple[str, Signer | None]":
    """The person and the key. The name is the one that the file of people has for this key."""
    if key is None:
        return control.who(), None
    from serving.audit.signed_note import Signer

    signer = Signer.from_file(key, key_name)
    owner = next(
        (p for p in control.people().by_name.values() if p.key is not None and p.key.public == signer.verifier.public), None
    )
    if owner is None or owner.key is None:
        return control.who(), signer
    return owner.name, Signer.from_file(key, owner.key.name)


def _note(
    subject: "ApprovalSubject",
    decision: str,
    by: str,
    signer: "Signer",
    role: str | None,
    expires: str | None,
    evidence: str,
    why: str,
) -> str:
    from operators.control.verb_requests import note_of
    from operators.values import parse_duration

    try:
        lasts = None if expires is None else round(parse_duration(expires).total_seconds() * 1_000_000)
    except ValueError as problem:
        raise CommandError(f"--expires {problem}") from problem
    return signer.sign(note_of(subject, decision, by, role, lasts_us=lasts, evidence=evidence, why=why).text())
