"""Known vulnerabilities of the pinned dependencies, by pip-audit: `make check` runs it.

requirements/dev.txt is audited: it holds every version of every image's lock. Services of vulnerabilities are asked first for a
package that is known to have some, because pip-audit reports "none found" where it was answered nothing. Where no service knows
that package, nothing is audited, and the last line says so. An audit is remembered for the day (build/audit.txt).

Exceptions are data with a reason and an end: requirements/accepted-vulnerabilities.yaml."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from tests.house import ROOT

LOCK: Final = ROOT / "requirements" / "dev.txt"
ACCEPTED: Final = ROOT / "requirements" / "accepted-vulnerabilities.yaml"
REMEMBERED: Final = ROOT / "build" / "audit.txt"
SERVICES: Final = ("pypi", "osv")
KNOWN_BAD: Final = "jinja2==2.4.1"  # many, the oldest of 2014; no service forgets them
CANARY_S: Final = 20
AUDIT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Accepted:
    """A vulnerability that is lived with: which one, why, and until which day."""

    id: str
    package: str
    reason: str
    until: date


@dataclass(frozen=True, slots=True)
class Audit:
    """What pip-audit saw. found: (package, version, id, versions that mend it); unseen: packages that the service does not know."""

    seen: int
    found: tuple[tuple[str, str, str, str], ...]
    unseen: tuple[str, ...]


def read_accepted(text: str) -> tuple[Accepted, ...]:
    """The exceptions of a file. Raises TypeError or KeyError where an entry has not exactly id, package, reason and until."""
    return tuple(Accepted(**entry) for entry in yaml.safe_load(text) or ())


def read_audit(report: Mapping[str, Any]) -> Audit:
    """pip-audit's JSON report."""
    packages = report["dependencies"]
    found = tuple(
        (p["name"], p["version"], v["id"], " or ".join(v["fix_versions"]) or "no version yet")
        for p in packages
        for v in p.get("vulns", ())
    )
    return Audit(sum("vulns" in p for p in packages), found, tuple(p["name"] for p in packages if "skip_reason" in p))


def complaints(audit: Audit, accepted: Iterable[Accepted], today: date) -> list[str]:
    """What has to be done: vulnerabilities that nobody accepted for today, and exceptions that nothing needs."""
    of = {(a.package, a.id): a for a in accepted}
    said = []
    for package, version, name, mended in audit.found:
        exception = of.pop((package, name), None)
        if exception is None:
            said.append(
                f"{package} {version} has {name}: take {mended}, or accept it with a reason in requirements/{ACCEPTED.name}"
            )
        elif exception.until < today:
            said.append(
                f"{package} {version} has {name}, accepted until {exception.until} only ({exception.reason}): take {mended}"
            )
    unused = (a for a in of.values() if a.package not in audit.unseen)
    return said + [f"requirements/{ACCEPTED.name}: {a.package} has no {a.id} any more; remove the entry" for a in unused]


def ask(service: str, requirements: Path, most_s: float, more: Sequence[str] = ()) -> Audit | None:
    """One run of pip-audit. None where it did not end in time or gave no report."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "-r", str(requirements), "-s", service, "-f", "json"]
    command += ["--disable-pip", "--progress-spinner", "off", "--timeout", "5", *more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=most_s, cwd=ROOT)
        return read_audit(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return None


def knowing_service() -> str | None:
    """The first service that knows what everybody knows."""
    with TemporaryDirectory() as folder:
        canary = Path(folder) / "canary.txt"
        canary.write_text(KNOWN_BAD + "\n", encoding="ascii")
        for service in SERVICES:
            audit = ask(service, canary, CANARY_S, ["--no-deps"])
            if audit is not None and audit.found:
                return service
    return None


def main() -> int:
    """Audit once a day. Returns the exit status: 1 for vulnerabilities, 0 also where nothing could be audited."""
    today, accepted = datetime.now(UTC).date(), read_accepted(ACCEPTED.read_text(encoding="utf-8"))
    mark = f"{today} {sha256(LOCK.read_bytes() + ACCEPTED.read_bytes()).hexdigest()}"
    before, _, said_then = REMEMBERED.read_text(encoding="utf-8").partition("\n") if REMEMBERED.is_file() else ("", "", "")
    if before == mark:
        print(f"{said_then} (asked before, today)")
        return 0
    if not Path(sys.executable).with_name("pip-audit").is_file():
        print("pip-audit: NOTHING WAS AUDITED: it is not in the environment; remove .venv/.ready-* and run make again")
        return 0
    service = knowing_service()
    if service is None:
        known = f"no service ({', '.join(SERVICES)}) can be reached that knows the holes of {KNOWN_BAD}"
        return _passed(mark, f"pip-audit: NOTHING WAS AUDITED: {known}")
    audit = ask(service, LOCK, AUDIT_S, ["--require-hashes"])
    if audit is None or not audit.seen:
        unanswered = f"{service} did not answer for requirements/{LOCK.name} within {AUDIT_S} s"
        return _passed(mark, f"pip-audit: NOTHING WAS AUDITED: {unanswered}")
    said = complaints(audit, accepted, today)
    whole = f"pip-audit: {audit.seen} packages audited by {service}, {len(said)} complaints"
    if audit.unseen:
        whole += f"; NOT AUDITED, unknown to it: {', '.join(audit.unseen)}"
    if said:
        print("\n".join([*said, whole]))
        return 1
    return _passed(mark, whole)


def _passed(mark: str, line: str) -> int:
    """Say it, and remember it for the day: what a service does not answer, it is not asked at each check."""
    print(line)
    REMEMBERED.parent.mkdir(exist_ok=True)
    REMEMBERED.write_text(f"{mark}\n{line}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
