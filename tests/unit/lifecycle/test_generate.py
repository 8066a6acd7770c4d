"""Made-up flows look like the real ones, and the same seed makes the same ones."""

import pandas as pd
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.synthetic_flows import generate_flows


@pytest.fixture(scope="module")
def flows():
    return generate_flows(5, hosts=60, flows_per_host=60)


@pytest.mark.heavy
def test_the_same_seed_makes_the_same_flows(flows):
    pd.testing.assert_frame_equal(flows, generate_flows(5, hosts=60, flows_per_host=60))
    assert not flows.equals(generate_flows(6, hosts=60, flows_per_host=60))


@pytest.mark.heavy
def test_every_kind_of_attack_is_among_benign_flows(flows):
    kinds = set(flows["Label"])
    assert {f"flow=From-Botnet-{k}" for k in ("Scan", "BruteForce", "Flood", "Beacon", "Exfiltration")} <= kinds
    assert {"flow=Background", "flow=From-Normal-Hosts", "flow=From-Normal-Operations"} <= kinds
    assert 0.05 < flows["Label"].str.contains("Botnet").mean() < 0.6


def test_flows_are_consistent(flows):
    assert (flows["SrcBytes"] <= flows["TotBytes"]).all()
    assert (flows["TotPkts"] >= 1).all()
    assert (flows["Dur"] >= 0).all()
    assert flows["StartTime"].is_monotonic_increasing


def test_an_attacking_host_does_ordinary_things_too(flows):
    attackers = flows.loc[flows["Label"].str.contains("Botnet"), "SrcAddr"].unique()
    ordinary = flows.loc[~flows["Label"].str.contains("Botnet"), "SrcAddr"].unique()
    assert set(attackers) & set(ordinary), "so the host alone does not give the label away"


@pytest.mark.heavy
def test_the_detector_takes_them(flows):
    data = check_data(read_detector("flows"), flows, where="generated")
    assert not [n for n in data.notes if "alone tells" in n]
