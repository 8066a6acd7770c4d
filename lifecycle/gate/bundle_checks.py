"""Checks of the bundle itself: probed in a process of its own, its size and latency, its origin, its signature."""

from collections.abc import Callable
from typing import Final

from lifecycle.gate.checks import Check, failed, passed, skipped
from lifecycle.gate.policy import Budget
from lifecycle.governance.lineage.facts import provenance_of
from serving.models.bundle import MANIFEST, Bundle, files_of
from serving.models.errors import ModelError
from serving.models.manifest import Lineage
from serving.models.probe import ProbeReport, probe
from serving.models.processor import processor_family
from serving.models.signing.trust import Proof

MOST_TOLERANCE: Final = 0.001
"""The largest difference that golden outputs of another processor family may have; a wider tolerance would take any model for the same."""
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
    return schema, _golden(bundle, found, budget), _budget(bundle, found, budget)


def _golden(bundle: Bundle, found: ProbeReport, budget: Budget) -> Check:
    golden, cases = bundle.manifest.golden, found.golden_cases
    words = "1 golden case is reproduced" if cases == 1 else f"{cases} golden cases are reproduced"
    if cases < budget.golden_cases:
        return failed("golden", f"{words}, at least {budget.golden_cases} are wanted", _REBUILD, cases=cases)
    if golden is None or not cases:
        return skipped("golden", "the bundle has no golden cases", _REBUILD)
    if golden.tolerance > MOST_TOLERANCE:
        why = f"golden.tolerance is {golden.tolerance:g}, at most {MOST_TOLERANCE:g} shows that a model answers as it did"
        return failed("golden", why, "correct it in bundle.json, or build the bundle again", cases=cases)
    is_exact = golden.processor == processor_family()
    exactness = "to the bit" if is_exact else f"within {golden.tolerance:g}, as another processor family made them"
    return passed("golden", f"{words} {exactness}", cases=cases)


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
    if not found.golden_cases:
        return skipped("budget", f"a run was not timed, as there is no golden case; the files take {size:.1f} MB", _REBUILD)
    return passed("budget", words, **figures)


def lineage_check(bundle: Bundle) -> Check:
    """Whether the bundle says where it comes from."""
    lineage = bundle.manifest.lineage
    if lineage is None:
        way_out = "train it with `vedette train`, or describe it in bundle.json (docs/reference/bundle.md, `lineage`)"
        return failed("lineage", "the bundle does not record its origin", way_out)
    if missing := missing_facts(lineage):
        way_out = "train from a clean checkout; declare `provenance` in the detector file"
        return failed("lineage", f"missing: {', '.join(missing)}", way_out, missing=list(missing))
    facts = {"data_digest": lineage.data_digest, "code_commit": lineage.code_commit, "findings": len(lineage.findings)}
    return passed("lineage", f"data {lineage.data_digest[:19]}…, code {lineage.code_commit[:12]}", **facts)


def missing_facts(lineage: Lineage) -> tuple[str, ...]:
    """What an auditor would ask for and the bundle does not say."""
    provenance = provenance_of(lineage)
    facts = {
        "data digest": lineage.data_digest,
        "code commit": lineage.code_commit.removesuffix("-dirty") not in ("", "unknown"),
        "seed": lineage.seed is not None,
        "parameters": lineage.parameters,
        "environment": lineage.environment,
        "rows of the data": lineage.data.get("rows"),
        "source of the data": provenance.get("source"),
        "who labelled the rows": provenance.get("labels") or lineage.data.get("is_generated"),
    }
    return tuple(fact for fact, value in facts.items() if not value)


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
    if proof.files != files_of(bundle.manifest, bundle.digest):
        why = f"the signature of {proof.signer} does not name the files of bundle.json, each of them and no other"
        return failed("signature", why, "sign it again with `vedette registry sign`")
    return passed("signature", f"signed by {proof.signer}", signer=proof.signer)
