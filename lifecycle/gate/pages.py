"""The report of the gate as JUnit XML for a CI server, and as a document for people. Pure."""

import re
from typing import Final
from xml.etree import ElementTree  # nosec B405  # builds pages, parses nothing

from lifecycle.documents.document import Document, Grid, Section
from lifecycle.gate.checks import CHECKS, Check, GateReport, Outcome

_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, section 2.2."""


def junit(report: GateReport) -> bytes:
    """The report as JUnit XML: one test case a check. A check that is skipped and required is a failure."""
    failures = report.failures
    skipped = [c for c in report.checks if c.outcome is Outcome.SKIPPED and not report.counts_against(c)]
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(f"vedette gate {report.name} {report.version}".strip()), tests=str(len(report.checks)), failures=str(len(failures)),
        errors="0", skipped=str(len(skipped)), time="0",
    )  # fmt: skip
    properties = ElementTree.SubElement(suite, "properties")
    ElementTree.SubElement(properties, "property", name="digest", value=report.digest)
    for check in report.checks:
        case = ElementTree.SubElement(suite, "testcase", classname="vedette.gate", name=check.name, time="0")
        if report.counts_against(check):
            ElementTree.SubElement(case, "failure", message=_xml(check.words), type=check.outcome.value).text = _xml(
                check.way_out
            )
        elif check.outcome is Outcome.SKIPPED:
            ElementTree.SubElement(case, "skipped", message=_xml(check.words))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(check.words)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    body: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return body


def gate_page(report: GateReport) -> Document:
    """The report as a document, for a pull request or a browser."""
    verdict = "passed" if report.is_passed else f"failed: {', '.join(check.name for check in report.failures)}"
    rows = tuple((c.name, _outcome(report, c), c.words, c.way_out) for c in report.checks)
    sections = (
        Section("Checks", grid=Grid(("check", "outcome", "what was found", "way out"), rows)),
        Section("What is asked", facts=tuple((name, what) for name, what in CHECKS.items())),
    )
    about = f"Bundle {report.digest or 'unreadable'}. 95 % bounds are in brackets. The checks and the policy: docs/reference/gate.md."
    return Document(f"{report.name} {report.version}".strip() + f": {verdict}", about, sections, report.as_record())


def _outcome(report: GateReport, check: Check) -> str:
    return (
        f"{check.outcome.value} (required)"
        if check.outcome is Outcome.SKIPPED and report.counts_against(check)
        else check.outcome.value
    )


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)
