"""`vedette demo approvals`: two people and one machine. No one can pass the rollout alone, and each attempt to do so fails.

The loop, its files, keys, signatures, log and the commands are real; the replicas only say that they have loaded what they were told,
and get no requests, so that it takes seconds. `vedette demo` serves for real."""

import asyncio
import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from operators.cli.console import CommandError, errors

if TYPE_CHECKING:
    from lifecycle.governance.acts import Act
    from operators.control.folder import ControlFolder
    from operators.rollout.spec import Revision
    from operators.rollout.status import RolloutStatus

MODEL: Final = "simple"
PEOPLE: Final = {"ada": "detection-lead", "bob": "soc-manager", "carol": "detection-lead", "dan": "incident-commander"}
POLICY: Final[dict[str, Any]] = {
    "steps": [
        {
            "approval": {
                "roles": ["detection-lead", "soc-manager"],
                "validFor": "4h",
                "reasonRequired": True,
                "breakGlassRoles": ["incident-commander"],
            }
        },
        {"setWeight": 100},
    ],
    "analysis": {"minRequests": 0},
    "rollbackWindow": "0s",
}
_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.05


@dataclass(slots=True)
class ApprovalsDemo:
    """One store, and what was promised and not kept. keys: private keys, by person; the forger has one too."""

    store_dir: Path
    tell: Callable[[str], None]
    folder: "ControlFolder"
    keys: dict[str, Path] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def expect(self, is_kept: bool, promise: str) -> None:
        """Note a promise that was not kept."""
        mark = "[green]kept[/]  " if is_kept else "[bold red]BROKEN[/]"
        self.tell(f"  {mark} {promise}")
        if not is_kept:
            self.broken.append(promise)

    def says(self, *words: str) -> tuple[int, str]:
        """Run a command of this command line. Returns 1 if it was refused, else 0, and the output."""
        self.tell(f"[dim]$ vedette {' '.join(w if ' ' not in w else repr(w) for w in words)}[/]")
        from typer.testing import CliRunner

        from operators.cli.audit import app as audit
        from operators.cli.rollout import app as rollout

        group = rollout.app if words[0] == "rollout" else audit.app
        done = CliRunner().invoke(group, [*words[1:], "--store-dir", str(self.store_dir)])
        is_refused = done.exception is not None and not isinstance(done.exception, SystemExit)
        output = str(done.exception) if is_refused else done.output.strip()
        self.tell(output if "\n" in output else f"  {output}")
        return int(is_refused), output

    def approve(self, who: str, why: str, *more: str) -> tuple[int, str]:
        """Send a signed approval."""
        return self.says("rollout", "approve", MODEL, "--key", str(self.keys[who]), "--why", why, *more)

    def start(self, revision: "Revision", by: str) -> None:
        """Ask for a revision under somebody's name, and wait until it is to be approved."""
        from operators.cli.rollout.start import started

        self.tell(f"{by} starts version {revision.version}")
        asked = {"version": revision.version, "bundle": revision.bundle}
        self.folder.change(MODEL, lambda before: started(before, MODEL, asked, {"policy": POLICY}, by, "better on DNS"))
        self.until(lambda s: s.waiting_for.startswith("approval") and s.candidate == revision)

    @property
    def status(self) -> "RolloutStatus":
        """Where it stands."""
        from operators.rollout.status import RolloutStatus

        return self.folder.status(MODEL) or RolloutStatus()

    def until(self, holds: Callable[["RolloutStatus"], bool]) -> bool:
        """Wait for a status; whether it came."""
        end = time.monotonic() + _WITHIN_S
        while time.monotonic() < end:
            if holds(self.status):
                return True
            time.sleep(_POLL_S)
        return False

    def acts(self) -> "tuple[Act, ...]":
        """The acts that the log's checkpoints speak of; reading them holds the log to its checkpoint."""
        from lifecycle.governance.approvals.desk import ApprovalDesk

        return ApprovalDesk(self.store_dir / "governance", None, now_us=lambda: 0).acts()


def approvals() -> None:
    """Show which approvals pass a rollout, which are refused, and what is recorded. Exit code 1 if a promise is not kept."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vedette-demo-") as folder:
        broken = play(Path(folder), lambda line: errors.print(line, soft_wrap=True))
    if broken:
        raise CommandError("not as promised: " + "; ".join(broken))
    errors.print(f"\n[bold green]every promise was kept[/]; it took {time.monotonic() - began:.0f} s")


def play(store_dir: Path, tell: Callable[[str], None]) -> list[str]:
    """Play it on a fresh store; the promises that were not kept."""
    from operators.control.folder import ControlFolder
    from operators.labs.simple_model import build_simple
    from operators.rollout.spec import Revision
    from serving.models.store import BundleStore

    store = BundleStore(store_dir)
    revisions = []
    for version in ("1", "2", "3"):
        with tempfile.TemporaryDirectory() as folder:
            digest = store.add(build_simple(Path(folder) / "bundle", version))
        revisions.append(Revision(version=version, bundle=digest))
    first, second, third = revisions
    demo = ApprovalsDemo(store_dir, tell, ControlFolder(store_dir))
    with tempfile.TemporaryDirectory(prefix="vedette-keys-") as keys:
        _people(demo, Path(keys))
        _serve_first(store_dir, first)
        with running(store_dir):
            two_people(demo, second)
            nobody_edits(demo, third)
            broken_glass(demo, third)
    at_the_end(demo)
    return demo.broken


def two_people(demo: ApprovalsDemo, revision: "Revision") -> None:
    """Ada starts it; her own approval and a forged one are refused; carol and bob approve with their keys."""
    demo.tell("\n[bold]four eyes[/]")
    demo.start(revision, "ada")
    status, output = demo.approve("ada", "I made it, it is good")
    demo.expect(status == 1 and "ada started this rollout" in output, "ada's approval of her own rollout is refused")
    _forge(demo, revision)
    demo.until(lambda s: "forged" in s.handled)
    demo.expect(not demo.status.approvals, "an approval in bob's name, signed with another key, is refused")
    status, _ = demo.approve("carol", "recall is up on DNS, alerts are not")
    demo.expect(
        status == 0 and demo.status.waiting_for == "approval as soc-manager: 1 of 2", "carol's approval alone is not enough"
    )
    status, _ = demo.approve("bob", "the night shift is told")
    demo.expect(status == 0 and demo.until(lambda s: s.stable == revision), "with bob's it is promoted")


def nobody_edits(demo: ApprovalsDemo, revision: "Revision") -> None:
    """The status and the document are edited by hand."""
    demo.tell("\n[bold]an edited status, an edited document[/]")
    demo.start(revision, "ada")
    stable = demo.status.stable
    path = demo.folder.folder / f"{MODEL}.status.json"
    demo.tell(f"somebody writes stepIndex 2 and weight 100 into {path.name}")

    def is_ended_or_edited_again(status: "RolloutStatus") -> bool:
        if status.phase == "Aborted":
            return True
        if status.weight != 100:  # not edited yet, or the loop has just written over it
            kept = json.loads(path.read_text(encoding="utf-8"))
            kept["rollout"] |= {"stepIndex": 2, "weight": 100.0}
            draft = path.with_suffix(".edited")
            draft.write_text(json.dumps(kept), encoding="utf-8")
            draft.replace(path)
        return False

    is_ended = demo.until(is_ended_or_edited_again)
    demo.expect(
        is_ended and demo.status.stable == stable and demo.status.weight == 0, "the status is refused, and stable serves all"
    )
    demo.tell("somebody takes the approval out of the document, and retries")

    def without_approval(before: "dict[str, Any] | None") -> "dict[str, Any]":
        spec = dict((before or {})["spec"])
        return {**(before or {}), "spec": {**spec, "rollout": {"policy": {**POLICY, "steps": [{"setWeight": 100}]}}}}

    demo.folder.change(MODEL, without_approval)
    demo.says("rollout", "retry", MODEL, "--why", "without asking")
    is_waiting = demo.until(lambda s: s.waiting_for.startswith("approval as detection-lead and soc-manager"))
    demo.expect(is_waiting, "the rollout needs the approvals that the one before needed")


def broken_glass(demo: ApprovalsDemo, revision: "Revision") -> None:
    """An emergency: dan passes the step alone, and bob reviews it."""
    demo.tell("\n[bold]broken glass[/]")
    status, _ = demo.approve("bob", "I cannot wait", "--break-glass")
    demo.expect(status == 1, "bob, whose role does not allow it, may not break the glass")
    status, _ = demo.approve("dan", "ransomware on the file servers, nobody else is up", "--break-glass")
    demo.expect(
        status == 0 and demo.until(lambda s: s.stable == revision), "dan, the incident commander, brings it through alone"
    )
    demo.expect(bool(demo.status.break_glass), "the status alarms until somebody reviews it")
    review = ("rollout", "review", MODEL, "--why", "right in the circumstances", "--key")
    demo.expect(demo.says(*review, str(demo.keys["dan"]))[0] == 1, "dan may not review it himself")
    demo.expect(
        demo.says(*review, str(demo.keys["bob"]))[0] == 0 and not demo.status.break_glass, "bob's review ends the alarm"
    )


def at_the_end(demo: ApprovalsDemo) -> None:
    """What the log says, read and held to its checkpoint."""
    from serving.audit.segment_files import read_notes, segments_in
    from serving.audit.signed_note import Signer, signers_of

    demo.tell("\n[bold]what is recorded[/]")
    demo.says("audit", "acts", "--action", "rollout", "--refused")
    acts = demo.acts()
    done = [(a.actor, a.action, a.outcome) for a in acts]
    demo.expect(_in_order(done, _EXPECTED), "every act is in the log, in order, under the name of who did it")
    forged = [a for a in acts if a.evidence.get("request") == "forged"]
    demo.expect([a.outcome for a in forged] == ["refused"], "the forged approval is in the log, as refused, with its note")
    key = Signer.from_file(demo.store_dir / "keys" / "audit.pem").verifier
    notes = [note for files in segments_in(demo.store_dir / "governance") for note in read_notes(files.checkpoints)]
    demo.expect(
        bool(notes) and all(signers_of(note, [key]) for note in notes),
        f"{len(notes)} checkpoints are signed by the store's key",
    )
    demo.expect(_change_is_noticed(demo), "a changed act is noticed: the log no longer holds what its checkpoint says")


_EXPECTED: Final = (
    ("operator", "rollout.adopt", "accepted"),
    ("ada", "rollout.start", "accepted"),
    ("ada", "rollout.approve", "refused"),
    ("bob", "rollout.approve", "refused"),
    ("carol", "rollout.approve", "accepted"),
    ("bob", "rollout.approve", "accepted"),
    ("operator", "rollout.pass", "accepted"),
    ("operator", "rollout.promote", "accepted"),
    ("ada", "rollout.start", "accepted"),
    ("unknown", "rollout.status-edit", "refused"),
    ("bob", "rollout.break-glass", "refused"),
    ("dan", "rollout.break-glass", "accepted"),
    ("operator", "rollout.promote", "accepted"),
    ("dan", "rollout.review", "refused"),
    ("bob", "rollout.review", "accepted"),
)


def _in_order(done: list[tuple[str, str, str]], wanted: tuple[tuple[str, str, str], ...]) -> bool:
    left = iter(done)
    return all(one in left for one in wanted)


def _change_is_noticed(demo: ApprovalsDemo) -> bool:
    from serving.audit.segment_files import segments_in
    from serving.audit.signed_note import NoteError

    records = segments_in(demo.store_dir / "governance")[0].records
    records.write_bytes(records.read_bytes().replace(b'"actor":"dan"', b'"actor":"bob"', 1))
    try:
        demo.acts()
    except NoteError:
        return True
    return False


def _people(demo: ApprovalsDemo, keys: Path) -> None:
    import yaml

    from serving.audit.signed_note import Signer

    people = []
    for name, role in PEOPLE.items():
        demo.keys[name] = keys / f"{name}.pem"
        people.append({"name": name, "roles": [role], "key": str(Signer.create(demo.keys[name], name).verifier)})
    Signer.create(keys / "forger.pem", "bob")
    demo.keys["forger"] = keys / "forger.pem"
    path = demo.store_dir / "governance" / "people.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"people": people}, sort_keys=False), encoding="utf-8")
    demo.tell(f"[dim]{path.name}: {', '.join(f'{name} is {role}' for name, role in PEOPLE.items())}; each has a key[/]")


def _serve_first(store_dir: Path, first: "Revision") -> None:
    from operators.rollout.status import Target
    from serving.loading.served_file import ServedFile
    from serving.spec import ServingSpec

    ServedFile(store_dir).write(ServingSpec(models=(Target(stable=first).serving(MODEL),)))


def _forge(demo: ApprovalsDemo, revision: "Revision") -> None:
    """Leave an approval in bob's name, as anybody can who may write into the store."""
    from lifecycle.governance.approvals.note import ApprovalNote, ApprovalSubject
    from operators.rollout.status import VerbRequest
    from serving.audit.signed_note import Signer

    demo.tell("somebody leaves an approval in bob's name, signed with a key of their own that they call bob's")
    status, now = demo.status, datetime.now(UTC)
    subject = ApprovalSubject(f"modelservice/local/{MODEL}", status.attempt, revision.digest, 1)
    time_us = round(now.timestamp() * 1_000_000)
    note = ApprovalNote(subject, "approve", "bob", "soc-manager", time_us, None, "-", "fine")
    signed = Signer.from_file(demo.keys["forger"], "bob").sign(note.text())
    args = {"role": "soc-manager", "note": signed}
    demo.folder.ask(MODEL, VerbRequest(id="forged", verb="approve", by="bob", why="fine", at=now, args=args))


@contextlib.contextmanager
def running(store_dir: Path) -> Iterator[None]:
    """Run the loop of a store beside replicas that load whatever they are told and get no requests."""
    import aiohttp

    from operators.backends.local import LocalBackend
    from operators.control.folder import ControlFolder
    from operators.control.loop import Loop, approval_desk
    from operators.ports import BackendView, Load, ServiceRef
    from operators.rollout.evidence import Observation, ReplicaEvidence
    from serving.audit.keys.keyring import Keyring
    from serving.loading.served_file import ServedFile

    class IdleReplicas(LocalBackend):
        """Two replicas that have loaded what served.json says."""

        async def look(self, service: ServiceRef) -> BackendView:
            """What they have loaded."""
            now, told = datetime.now(UTC), ServedFile(store_dir).read()
            models = [m for m in told.models if m.name == service.model] if told is not None else []
            loaded = tuple(d for m in models for d in (m.revision.digest, *(v.revision.digest for v in m.variants)))
            each = tuple(ReplicaEvidence(replica=name, loaded=loaded) for name in ("one", "two"))
            return BackendView(Observation(at=now, replicas=each, expected_replicas=2), Load(now, ready_replicas=2))

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            folder = ControlFolder(store_dir)
            keys = Keyring.of(store_dir, None, None, folders=[store_dir / "governance"])
            backend = IdleReplicas(store_dir, session, addresses=lambda: (), expected_replicas=lambda: 2)
            desk = approval_desk(folder, lambda: datetime.now(UTC), keys.signer)
            await Loop(folder, backend, every_s=_POLL_S, desk=desk).run(stopping)

    loop, stopping = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="rollouts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(_WITHIN_S)
        if not thread.is_alive():
            loop.close()
