"""The checks of a bundle by itself, where the bundle says of itself what makes a check easy."""

from dataclasses import replace

import pytest

from lifecycle.gate.bundle_checks import probe_checks, signature_check
from lifecycle.gate.checks import Outcome
from lifecycle.gate.policy import Budget
from operators.labs.simple_model import build_simple
from serving.models.errors import UntrustedBundle
from serving.models.probe import ProbeReport
from serving.models.signing.trust import Proof
from tests.fakes.serving.signed_bundles import Signers


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return build_simple(tmp_path_factory.mktemp("gate") / "simple")


def probed(bundle, budget=None, cases=1):
    report = ProbeReport(bundle.digest, golden_cases=cases, latency_us=100.0, memory_mib=1.0)
    return {check.name: check for check in probe_checks(bundle, budget or Budget(), probing=lambda _: report)}


def with_golden(bundle, **fields):
    golden = bundle.manifest.golden.model_copy(update=fields)
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"golden": golden}))


@pytest.mark.parametrize(("fields", "outcome", "says"), [
    pytest.param({}, Outcome.PASSED, "to the bit", id="on the processor family that made them nothing may differ"),
    pytest.param({"processor": "other"}, Outcome.PASSED, "within 1e-05", id="on another one a little may"),
    pytest.param({"processor": "other", "tolerance": 1e9}, Outcome.FAILED, "at most 0.001", id="a tolerance that any outputs keep"),
])  # fmt: skip
def test_what_golden_outputs_show(bundle, fields, outcome, says):
    check = probed(with_golden(bundle, **fields))["golden"]
    assert check.outcome is outcome
    assert says in check.words


def test_without_golden_cases_neither_outputs_nor_time_were_looked_at(bundle):
    bare = replace(bundle, manifest=bundle.manifest.model_copy(update={"golden": None}))
    checks = probed(bare, Budget(golden_cases=0), cases=0)
    assert {checks[name].outcome for name in ("golden", "budget")} == {Outcome.SKIPPED}
    assert probed(bare, cases=0)["golden"].outcome is Outcome.FAILED, "the default policy wants one"


def test_a_signature_that_names_other_files_does_not_hold_although_bundle_json_is_signed(bundle, tmp_path):
    signers = Signers(tmp_path)
    signers.trust("ada")
    whole = signers.trusted.prove(bundle.digest, [("model.sig", signers.signature(bundle, "ada"))])
    assert signature_check(bundle, lambda _: whole).outcome is Outcome.PASSED
    partial = Proof(whole.signer, whole.hint, {"bundle.json": whole.files["bundle.json"]})
    assert signature_check(bundle, lambda _: partial).outcome is Outcome.FAILED


def test_a_signature_of_another_bundle_does_not_hold(bundle, tmp_path):
    signers, other = Signers(tmp_path), build_simple(tmp_path / "other", version="2")
    signers.trust("ada")
    copied = [("model.sig", signers.signature(other, "ada"))]
    check = signature_check(bundle, lambda given: signers.trusted.prove(given.digest, copied))
    assert check.outcome is Outcome.FAILED
    assert "signs another bundle" in check.words


def test_without_trusted_keys_the_signature_was_not_looked_at(bundle):
    def refusing(_):
        raise UntrustedBundle("no")

    assert signature_check(bundle, None).outcome is Outcome.SKIPPED
    assert signature_check(bundle, refusing).outcome is Outcome.FAILED
