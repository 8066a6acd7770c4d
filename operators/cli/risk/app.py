"""`vedette risk ENTITY`, which is `vedette risk show ENTITY`; `vedette risk top | add | fit`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from operators.cli.console import CommandError, Json, errors, page, plain, print_json, print_table
from operators.cli.labels.options import moment_us, now_us
from operators.cli.risk import following
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from serving.risk.assess import Risk
    from serving.risk.ledger import RiskLedger


At = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Time for which signals are weighed (default: now). Signals that came later are included."
    ),
]


class _ShowByDefault(TyperGroup):
    """What is no verb is an entity to show."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As `show ENTITY` where the first word is no verb."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


app = typer.Typer(
    cls=_ShowByDefault,
    no_args_is_help=True,
    help="The risk of an entity: one figure from streams, batch jobs, rules and analysts. `vedette risk ENTITY` shows it.",
)


@contextmanager
def _ledger(store_dir: Path | None) -> "Iterator[RiskLedger]":
    from serving.risk.opening import open_ledger
    from serving.settings import ServingSettings

    settings = ServingSettings()
    ledger = open_ledger(store_dir or settings.store_dir, settings.risk_url)
    try:
        yield ledger
    finally:
        ledger.close()


@app.command()
def show(
    entity: Annotated[str, typer.Argument(help="The entity, e.g. a host's address; several keys as `a=x,b=y`.")],
    at: At = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Show an entity's risk, its parts, and the signals that are missing."""
    from serving.risk.json_form import risk_as_record

    with _ledger(store_dir) as ledger:
        risk = ledger.find(entity, _moment_us(at))
    if risk is None:
        raise CommandError(f"nothing was ever said of {entity!r}; `vedette risk top` lists the entities with the highest risks")
    if as_json:
        print_json(risk_as_record(risk))
        return
    page().print(plain(_headline(risk)), markup=False, soft_wrap=True)
    rows = [
        (
            part.signal.kind,
            part.signal.name,
            f"{part.signal.probability:.3f}",
            f"{part.log_odds:+.2f}",
            _age(part.age_s),
            part.signal.id,
        )
        for part in risk.parts
    ]
    print_table(
        "parts",
        ["kind", "source", "probability", "adds (log-odds)", "age", "evidence"],
        rows,
        right=["probability", "adds (log-odds)"],
    )
    for change in risk.changes[-5:]:
        errors.print(
            plain(
                f"changed {change.before:.3f} -> {change.after:.3f} by {change.because}, {_age(change.late_s)} after the event"
            ),
            markup=False,
        )


@app.command()
def top(
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="Number of entities.")] = 20,
    at: At = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """List the entities with the highest risks."""
    from serving.risk.json_form import risk_as_record

    with _ledger(store_dir) as ledger:
        risks = ledger.highest(most, _moment_us(at))
    if as_json:
        print_json([risk_as_record(risk) for risk in risks])
        return
    rows = [
        (
            risk.entity,
            f"{risk.risk:.3f}",
            risk.level,
            "yes" if risk.is_complete else "no",
            ", ".join(dict.fromkeys(p.signal.kind for p in risk.parts)),
        )
        for risk in risks
    ]
    print_table("highest risks", ["entity", "risk", "level", "complete", "kinds"], rows, right=["risk"])


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="Signals as JSON lines: entity, kind, name, probability, at_us, id.")],
    at: At = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Add signals from a file, for example of another tool. A wrong line stops the command before anything is added."""
    import msgspec

    from serving.risk.signal import RiskSignal

    signals = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                signal = msgspec.json.decode(line, type=RiskSignal)
                signal.check()
            except (msgspec.MsgspecError, ValueError) as problem:
                raise CommandError(f"{file}, line {number}: {problem}; nothing was added") from problem
            signals.append(signal)
    with _ledger(store_dir) as ledger:
        updates = ledger.add(signals, [], _moment_us(at))
    notable = sum(update.is_notable for update in updates)
    if as_json:
        print_json({"signals": len(signals), "entities_changed": len(updates), "notable": notable})
    else:
        errors.print(f"{len(signals)} signals; the risk of {len(updates)} entities changed, of {notable} notably")


@app.command()
def fit(
    file: Annotated[
        Path,
        typer.Argument(
            help="Labelled entities as .jsonl or .parquet: `harmful`, and a probability for each kind (may be empty)."
        ),
    ],
    store_dir: StoreDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the figures and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Estimate the prior and the weights of risk.yaml from labelled entities, and compare it with each kind alone."""
    from lifecycle.evaluation.risk_weights import fit_weights
    from operators.cli.risk.labelled_file import read_labelled
    from serving.risk.rules_of_risk import FILE, read_rules
    from serving.settings import ServingSettings

    root = store_dir or ServingSettings().store_dir
    found = fit_weights(read_labelled(file), read_rules(root))
    if not dry_run:
        _write(root / FILE, found.rules.model_dump(mode="json"))
    if as_json:
        figures = [{"name": f.name, "brier": f.brier, "log_loss": f.log_loss, "ece": f.ece} for f in found.figures]
        print_json(
            {"rules": found.rules.model_dump(mode="json"), "figures": figures, "written": None if dry_run else str(root / FILE)}
        )
        return
    rows = [(f.name, f"{f.brier:.5f}", f"{f.log_loss:.4f}", f"{f.ece:.4f}") for f in found.figures]
    print_table(
        "on entities that were left out",
        ["risk", "Brier", "log loss", "calibration error"],
        rows,
        right=["Brier", "log loss", "calibration error"],
    )
    weights = ", ".join(f"{kind} {rules.weight:g}" for kind, rules in found.rules.kinds.items())
    errors.print(f"prior {found.rules.prior:g}; weights: {weights}", markup=False)
    errors.print("nothing is written" if dry_run else f"written: {root / FILE}, version {found.rules.version}", markup=False)


def _write(path: Path, rules: dict[str, object]) -> None:
    import yaml

    from serving.files.whole_files import write_whole

    write_whole(path, yaml.safe_dump(json.loads(json.dumps(rules)), sort_keys=False))


def _headline(risk: "Risk") -> str:
    missing = [f"no {kind} signal" for kind in risk.missing]
    missing += [f"{check.name} is pending" for check in risk.pending] + [f"{check.name} is overdue" for check in risk.overdue]
    state = "complete" if risk.is_complete else "not complete: " + ", ".join(missing)
    return f"{risk.entity}: risk {risk.risk:.3f} ({risk.level}), {state}"


def _age(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _moment_us(at: str | None) -> int:
    now = now_us()
    return moment_us(at, now) or now


app.command()(following.follow)
app.command()(following.enrich)
