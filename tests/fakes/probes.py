"""Probes of bundles that remember: a probe starts a Python and takes a second or more, and the same bundle gets the same report."""

from typing import Any

from serving.models.bundle import Bundle
from serving.models.probe import ProbeReport, probe

_reports: dict[str, ProbeReport] = {}


def probe_once(bundle: Bundle, **how: Any) -> ProbeReport:
    """The real probe, the first time that a bundle of this digest is loaded in this run; a refusal is not remembered."""
    if bundle.digest not in _reports:
        _reports[bundle.digest] = probe(bundle, **how)
    return _reports[bundle.digest]
