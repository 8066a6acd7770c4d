"""Checks of the bundle itself: probed in a process of its own, its size and latency, its origin, its signature."""

from collections.abc import Callable
from typing import Final

from lifecycle.gate.checks import Check, failed, passed, skipped
from lifecycle.gate.policy import Budget
from lifecycle.governance.lineage.facts import provenance_of
from serving.models.bundle import MANIFEST, Bundle
from serving.models.errors import ModelError
from serving.models.manifest import Lineage
from serving.models.probe import ProbeReport, probe
from serving.models.signing.trust import Proof

_REBUILD: Final = "build the bundle again with `vedette train` or `vedette bundle create`"


def probe_checks(bundle: Bundle, budget: Budget, *, probing: Callable[[Bundle], ProbeReport] = probe) -> tuple[Check, ...]:
    """Schema, golden outputs and budget. probing: loads and runs the bundle elsewhere; a graph that crashes takes nothing down."""
    golden = bundle.manifest.golden
    try:
        found = probing(bundle)
    except ModelError as problem:
        why = str(problem)
        not_run = skipped("budget", "the bundle did not run", "mend what the other checks name")
        if golden is not None and golden.file in why:
            return (
                passed("schema", f"{len(bundle.manifest.files)} files, as bundle.json has them"),
                failed("golden", why, _REBUILD),
                not_run,
            )
        return failed("schema", why, _REBUILD), skipped("golden", "the bundle did not run", "mend the schema first"), not_run
    schema = passed(
        "schema", f"{len(bundle.manifest.files)} files, as bundle.json has them; the graph has its inputs and outputs"
    )
    return schema, _golden(found, budget), _budget(bundle, found, budget)


def _golden(found: ProbeReport, budget: Budget) -> Check:
    words = f"{found.golden_cases} golden cases are reproduced"
    if found.golden_cases < budget.golden_cases:
        return failed("golden", f"{words}, at least {budget.golden_cases} are wanted", _REBUILD, cases=found.golden_cases)
    return passed("golden", words, cases=found.golden_cases)


def _budget(bundle: Bundle, found: ProbeReport, budget: Budget) -> Check:
    size = sum((bundle.folder / name).stat().st_size for name in (MANIFEST, *bundle.manifest.files)) / 1e6
    figures = {"run_ms": found.latency_us / 1e3, "megabytes": size, "memory_mib": found.memory_mib}
    words = f"a run takes {found.latency_us / 1e3:.3f} ms (median), the files {size:.1f} MB"
    over = []
    if found.latency_us / 1e3 > budget.run_ms:
        over.append(f"a run may take {budget.run_ms:g} ms")
    if size > budget.megabytes:
        over.append(f"the files may take {budget.megabytes:g} MB")
    if over:
        return failed("budget", f"{words}; {' and '.join(over)}", "make the model smaller, or raise the budget", **figures)
    return passed("budget", words, **figures)


def lineage_check(bundle: Bundle) -> Check:
    """Whether the bundle says where it comes from."""
    lineage = bundle.manifest.lineage
    if lineage is None:
        way_out = "train it with `vedette train`, or describe it in bundle.json (docs/reference/bundle.md, `lineage`)"
        return failed("lineage", "the bundle says nothing of its origin", way_out)
    if missing := missing_facts(lineage):
        way_out = "train from a clean checkout; declare `provenance` in the detector file"
        return failed("lineage", f"missing: {', '.join(missing)}", way_out, missing=list(missing))
    facts = {"data_digest": lineage.data_digest, "code_commit": lineage.code_commit, "findings": len(lineage.findings)}
    return passed("lineage", f"data {lineage.data_digest[:19]}…, code {lineage.code_commit[:12]}", **facts)


def missing_facts(lineage: Lineage) -> tuple[str, ...]:
    """What an auditor would ask for and the bundle does not say."""
    provenance = provenance_of(lineage)
    said = {
        "data digest": lineage.data_digest,
        "code commit": lineage.code_commit.removesuffix("-dirty") not in ("", "unknown"),
        "seed": lineage.seed is not None,
        "parameters": lineage.parameters,
        "environment": lineage.environment,
        "rows of the data": lineage.data.get("rows"),
        "source of the data": provenance.get("source"),
        "who labelled the rows": provenance.get("labels") or lineage.data.get("is_generated"),
    }
    return tuple(fact for fact, value in said.items() if not value)


def signature_check(bundle: Bundle, prove: Callable[[Bundle], Proof] | None) -> Check:
    """prove: gives the signature that holds, or raises ModelError; None where no key is trusted."""
    if prove is None:
        return skipped(
            "signature",
            "no trusted keys are given",
            "sign it with `vedette registry sign` and trust the public key (docs/reference/registry.md)",
        )
    try:
        proof = prove(bundle)
    except ModelError as problem:
        return failed("signature", str(problem), "sign it with `vedette registry sign`")
    return passed("signature", f"signed by {proof.signer}", signer=proof.signer)
