"""`vedette registry export | import`: bundles to and from MLflow and Weights & Biases."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from operators.cli.console import Json, errors, page, print_json
from operators.cli.registry.options import Because, ReferenceArgument, RegistryUrl, StoreDir, described, place, say

Other = Annotated[str, typer.Option("--to", help="mlflow=URL, or wandb=FOLDER (offline runs; `wandb sync` sends them).")]
From = Annotated[str, typer.Option("--from", help="mlflow=URL, or wandb=FOLDER with offline runs.")]


def send(
    reference: ReferenceArgument,
    to: Other,
    why: Because = "",
    registry: RegistryUrl = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Put a bundle of the registry into MLflow or Weights & Biases, with its stage, aliases, signatures and lineage."""
    from lifecycle.governance.registry.exchange.opening import open_exchange
    from serving.models.store import BundleStore

    at = place(store_dir, registry)
    opened = at.registry()
    known = opened.find(reference)
    with TemporaryDirectory(prefix="vedette-") as scratch, errors.status(f"to {to}"), redirect_stdout(sys.stderr):
        other = open_exchange(to)
        bundle = opened.pull(known.digest, BundleStore(Path(scratch)))
        opened.record_exchange("export", known.digest, why, {"to": to})
        where = other.send(bundle, known, opened.signatures(known.digest))
    if as_json:
        print_json({**described(known), "where": where})
    else:
        page().print(where, soft_wrap=True, markup=False)


def receive(
    reference: ReferenceArgument,
    source: From,
    why: Because = "",
    adopt: Annotated[bool, typer.Option("--adopt", help="Also take over its stage and aliases.")] = False,
    registry: RegistryUrl = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Import a bundle from MLflow or Weights & Biases into the registry, and verify its digest. --adopt also takes its stage."""
    from lifecycle.governance.registry.exchange.opening import open_exchange
    from lifecycle.governance.registry.history import STAGES
    from lifecycle.governance.registry.references import parse_reference
    from operators.cli.acts import refusals_recorded
    from serving.models.bundle import read_bundle

    at = place(store_dir, registry)
    opened, meant = at.registry(), parse_reference(reference)
    with TemporaryDirectory(prefix="vedette-") as scratch, errors.status(f"from {source}"), redirect_stdout(sys.stderr):
        got = open_exchange(source).fetch(meant, Path(scratch) / "got")
        digest = meant.value if meant.kind == "digest" else got.digest
        with refusals_recorded(at.settings, "bundle.import", f"bundle/{digest}"):
            bundle = read_bundle(got.folder, digest)
        opened.record_exchange("import", bundle.digest, why, {"from": got.where, "stage": got.stage, "aliases": got.aliases})
        after = opened.push(bundle, list(got.signatures), why)
        if adopt:
            reason = why or f"as in {got.where}"
            for alias in got.aliases:
                after = opened.set_alias(bundle.digest, alias, reason)
            if got.stage in STAGES:
                after = opened.set_stage(bundle.digest, got.stage, reason)  # type: ignore[arg-type]
    say(after, as_json=as_json)
