"""A service's rollouts drawn for people: each with its outcome, its moves, and the evidence each move rests on. Pure."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from operators.cli.console import plain_line
from operators.cli.rollout.ages import ago
from operators.control.port import Record
from operators.control.words import move_words, short
from operators.rollout.status import Assessment, FinishedRollout, HistoryEntry
from operators.values import format_duration

_OUTCOMES = {"promoted": "green", "aborted": "red", "superseded": "yellow", "undone": "yellow", "concluded": "magenta"}


def history_view(record: Record, now: datetime) -> RenderableType:
    """The newest first; the one under way before all."""
    trees: list[RenderableType] = []
    state = record.status
    if state.moves:
        title = Text.assemble(("under way ", "bold cyan"), f"{short(state.stable)} -> {short(state.candidate)}")
        trees.append(_tree(title, state.moves, now))
    trees += [_finished(f, now) for f in state.history]
    return Group(*trees) if trees else Text(f"{record.ref.name} has had no rollouts")


def _finished(rollout: FinishedRollout, now: datetime) -> Tree:
    lasted = format_duration(rollout.ended.replace(microsecond=0) - rollout.started.replace(microsecond=0))
    by = "" if rollout.by == "operator" else f" by {plain_line(rollout.by)}"
    title = Text.assemble(
        (f"{rollout.outcome} ", f"bold {_OUTCOMES[rollout.outcome]}"),
        f"{short(rollout.stable)} -> {short(rollout.candidate)}",
        (f"  {ago(rollout.ended, now)}, took {lasted}{by}", "dim"),
        f"\n{plain_line(rollout.reason)}" if rollout.reason else "",
    )
    return _tree(title, rollout.moves, now)


def _tree(title: Text, moves: tuple[HistoryEntry, ...], now: datetime) -> Tree:
    tree = Tree(title, guide_style="dim")
    for move in moves:
        tree.add(_move(move, now))
    return tree


def _move(move: HistoryEntry, now: datetime) -> Text:
    line = Text.assemble((f"{ago(move.at, now):>10}  ", "dim"), (f"{move_words(move)}  ", "bold"), plain_line(move.reason))
    if move.by != "operator":
        line.append(f"  ({plain_line(move.by)})", style="cyan")
    if move.assessment is not None and move.assessment.gates:
        line.append(f"\n{evidence_line(move.assessment)}", style="dim")
    return line


def evidence_line(seen: Assessment) -> str:
    """The gates of one look in one line."""
    gates = [
        f"{g.name} {g.verdict}: {_share(g.stable)} against {_share(g.candidate)}, e {g.e_worse:.3g} / {g.e_no_worse:.3g}"
        for g in seen.gates
    ]
    return f"{seen.requests:,} candidate requests; " + "; ".join(gates)


def _share(counts: tuple[int, int]) -> str:
    n, k = counts
    return f"{k}/{n}" if n else "nothing"
