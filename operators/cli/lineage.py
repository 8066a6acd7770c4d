"""`vedette lineage`: the inputs of an answer, a bundle or a rollout, and what was made from it."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import CommandError, Json, errors, page, plain, print_json
from operators.cli.store.store_option import StoreDir

app = typer.Typer(no_args_is_help=True, help="What an answer, a bundle or a rollout was made of, and what came of it.")


@app.command()
def show(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="RECEIPT|BUNDLE|ROLLOUT",
            help="A receipt, a digest, MODEL, MODEL:VERSION, rollout/SERVICE or rollout/SERVICE/NUMBER.",
        ),
    ],
    svg: Annotated[Path | None, typer.Option(help="Write a drawing to this file.")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Show the data, features, training, bundle, revision, rollouts and answers around one thing."""
    from lifecycle.governance.archive.record_log import RecordLog
    from lifecycle.governance.lineage.facts import graph_of
    from lifecycle.governance.lineage.resolve import resolve
    from lifecycle.governance.lineage.store import find_answer, read_facts
    from lifecycle.governance.lineage.story import story_of, story_text
    from lifecycle.governance.lineage.svg import draw
    from lifecycle.governance.lineage.tree import tree_lines
    from operators.cli.audit.archive_options import archive_if_there
    from operators.control.rollout_facts import rollout_facts
    from serving.settings import ServingSettings

    root = store_dir or ServingSettings().store_dir
    log = RecordLog(root / "audit", archive_if_there(root, None))
    facts = read_facts(root, log, rollout_facts(root))
    answer = find_answer(log, reference)
    graph = graph_of(facts, answer)
    focus = f"answer/{answer.receipt}" if answer is not None else resolve(graph, reference)
    part = graph.around(focus)
    if svg is not None:
        svg.write_text(draw(part, focus), encoding="utf-8")
        errors.print(f"drawn: {svg}", markup=False)
    story = story_of(part, facts)
    if as_json:
        told = [{"time": line.time, "what": line.what, "words": line.words, "node": line.node} for line in story]
        print_json({"focus": focus, **part.as_record(), "story": told})
    elif svg is None:
        lines = [*tree_lines(part, focus), *([""] if story else []), *story_text(story)]
        page().print(plain("\n".join(lines)), markup=False, soft_wrap=True)


@app.command()
def emit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle of the store: MODEL, or MODEL:VERSION.")],
    to: Annotated[str, typer.Option(help="An OpenLineage endpoint (http://...), or a file that events are appended to.")],
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Send the training run of a bundle as OpenLineage events."""
    from lifecycle.governance.lineage.events import send, training_events
    from lifecycle.governance.lineage.facts import BundleFact
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings

    name, _, version = model.partition(":")
    bundle = BundleStore(store_dir or ServingSettings().store_dir).resolve(name, version or None)
    when = datetime.fromtimestamp((bundle.folder / "bundle.json").stat().st_mtime).astimezone().isoformat()
    try:
        events = training_events(BundleFact(bundle.digest, bundle.manifest), when)
    except ValueError as problem:
        raise CommandError(f"{problem}; only bundles of `vedette train` have lineage events") from problem
    send(events, to)
    if as_json:
        print_json({"sent": len(events), "to": to, "bundle": bundle.digest, "run": events[0].run.runId})
    else:
        page().print(f"{len(events)} events of {bundle.manifest.name} {bundle.manifest.version} sent to {to}", markup=False)
