"""`vedette rules check | test | reach`: which rules of a folder are valid, which are not supported and why, which match an event, and
which apply to a site's sources."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, page, print_json, print_table

if TYPE_CHECKING:
    from operators.cli.rules.event_files import Found
    from serving.rules.events import Fields
    from serving.rules.matcher import Matcher
    from serving.rules.ruleset import RuleFiles
    from serving.rules.tree import SigmaRule

app = typer.Typer(no_args_is_help=True, help="Check rules, and try them on events.")
Rules = Annotated[
    Path,
    typer.Argument(
        metavar="RULES",
        help="A SIGMA file, or a folder of them (*.yml, *.yaml, in subfolders too), optionally with a rules.yaml.",
    ),
]
Sources = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Sources of the events besides those of rules.yaml, separated by commas: zeek,aws-cloudtrail,...; or `all`.",
    ),
]
Events = Annotated[Path, typer.Argument(metavar="EVENTS", help="A JSON or JSON lines file of events, or a folder of them.")]


@app.command()
def check(rules: Rules, sources: Sources = "", as_json: Json = False) -> None:
    """Parse rules, and list those that are not supported, with the reason. Exit code 1 if there are any."""
    from operators.cli.rules.view import print_rules, rules_record

    compiled, took_s, found = _compiled(rules, sources)
    thresholds = len(found.declared.thresholds)
    record = rules_record(
        len(compiled.rules), thresholds, compiled.unsupported, compiled.unreached, compiled.correlations.rules
    )
    if as_json:
        print_json({**record, "seconds": round(took_s, 3)})
    else:
        print_rules(record)
        page().print(f"compiled in {took_s:.2f} s")
    if compiled.unsupported:
        raise typer.Exit(1)


@app.command("test")
def try_on(
    rules: Rules,
    events: Events,
    sources: Sources = "",
    time_field: Annotated[
        str, typer.Option("--time", metavar="FIELD", help="Field with the time of an event, for correlations.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Match events: show the rules that match each event, the correlations, and the CPU time. Exit code 1 if an event could not be read."""
    from operators.cli.rules.correlated import FileCorrelations
    from operators.cli.rules.event_files import read_events
    from operators.cli.rules.view import print_correlated
    from serving.rules.errors import RuleError

    compiled, _, _ = _compiled(rules, sources)
    found: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    cpu_s = 0.0
    correlations = FileCorrelations(compiled, time_field)
    for event in read_events(events):
        started = time.process_time()
        try:
            fields, matched = _matched(compiled, event)
            correlations.observe(event.name, fields, matched)
        except RuleError as problem:
            skipped.append({"event": event.name, "reason": str(problem)})
            continue
        cpu_s += time.process_time() - started
        rows = [{"id": r.id, "level": r.level, "title": r.title, "techniques": list(r.techniques)} for r in matched]
        found.append({"event": event.name, "rules": rows})
    each_us = round(cpu_s / max(len(found), 1) * 1e6, 1)
    if as_json:
        unsupported = len(compiled.unsupported)
        told = {"correlations": correlations.records(), "events_without_time": correlations.without_time}
        print_json({"events": found, **told, "set_aside": skipped, "cpu_us_per_event": each_us, "unsupported": unsupported})
    else:
        lines = [(f["event"], "\n".join(f"{r['level']}: {r['title']}" for r in f["rules"]) or "none") for f in found]
        print_table(f"{len(found)} events, {each_us} us of CPU each", ("event", "rules that hold"), lines)
        if compiled.correlations.rules:
            print_correlated(correlations.records(), correlations.without_time)
        if compiled.unsupported:
            page().print(f"{len(compiled.unsupported)} rules are not supported and were not tried: vedette rules check {rules}")
        if skipped:
            print_table(f"{len(skipped)} set aside", ("event", "reason"), [tuple(s.values()) for s in skipped])
    if skipped:
        raise typer.Exit(1)


@app.command()
def reach(rules: Rules, sources: Sources = "", as_json: Json = False) -> None:
    """Count the rules that apply to each source of a site, and those that apply to no source, with the reason."""
    from operators.cli.rules.view import print_reach, reach_record
    from serving.rules.mappings.reach import reach_of

    compiled, _, found = _compiled(rules, sources)
    named = [*found.declared.sources, *_source_names(sources)]
    record = reach_record(reach_of(compiled.rules, named, compiled.sources), len(compiled.unsupported))
    if as_json:
        print_json(record)
    else:
        print_reach(record)


def _source_names(sources: str) -> list[str]:
    from serving.rules.mappings.catalogue import mapping_names

    names = [name.strip() for name in sources.split(",") if name.strip()]
    return list(mapping_names()) if names == ["all"] else names


def _matched(compiled: "Matcher", event: "Found") -> "tuple[Fields, list[SigmaRule]]":
    """An event's fields, and the rules that match it. Raises RuleError."""
    from serving.rules.errors import RuleError
    from serving.rules.events import fields_of_json

    if event.error is not None:
        raise RuleError(event.error)
    fields, document = fields_of_json(event.body)
    logsource = document.get("logsource")
    source = compiled.sources.of(fields, logsource if isinstance(logsource, dict) else None)
    return fields, compiled.match(fields, source)


def _compiled(path: Path, sources: str = "") -> "tuple[Matcher, float, RuleFiles]":
    """The matcher, the seconds it took, and what the files hold. Raises CommandError."""
    from serving.rules.errors import RuleError
    from serving.rules.files import find_rule_files
    from serving.rules.matcher import Matcher
    from serving.rules.ruleset import read_files
    from serving.rules.thresholds import columns_named

    started = time.perf_counter()
    files = find_rule_files(path)
    if not files:
        raise CommandError(f"{path}: holds no rules; name a SIGMA file, or a folder with *.yml, *.yaml or a rules.yaml")
    try:
        found = read_files(files, _source_names(sources))
        for rule in found.declared.thresholds:
            columns_named(rule.id, rule.when)
    except RuleError as problem:
        raise CommandError(f"{path}: {problem}") from problem
    return found.sigma or Matcher(()), time.perf_counter() - started, found
