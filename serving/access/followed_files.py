"""Follows the files of an access policy: reads them again when they change, and the keys of its issuers too.

A file that cannot be used changes nothing: what was read before counts on. The log, a metric and the body of readiness say so.
Only at the start a policy that cannot be used is an error, because there is none before it, and an open door is no fallback."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from serving.access.authentication.api_keys import NO_KEYS, check_mode, read_keys
from serving.access.gate import Gate
from serving.access.policy import AccessPolicy
from serving.access.policy_file import MOST_BYTES, AccessPolicyError, parse_policy
from serving.telemetry.access_names import FAILING, RELOADS
from serving.telemetry.metric_doc import MetricDoc

EVERY_S: Final = 1.0
_Stamp = tuple[int, int, int, int]
_AGAIN: Final[_Stamp] = (-1, -1, -1, -1)
"""Stamp of a file that could not be read, whatever it holds: it is read at the next look, so that a key that was revoked meanwhile ends."""
_log = logging.getLogger("vedette.access")


class AccessFiles:
    """The policy's file, and the file of keys that it names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.policy, self.keys = AccessPolicy(frozenset(), {}), NO_KEYS
        self._stamps: dict[str, _Stamp | None] = {}
        self._problems: dict[str, str] = {}
        self._reads = Counter[tuple[str, str]]()

    def start(self) -> None:
        """Read both. Raises AccessPolicyError for a policy that cannot be used; keys that cannot be read count as none."""
        self._stamps["policy"] = _stamp(self._path)
        self.policy = read_policy(self._path)
        self._reads["policy", "used"] += 1
        self._read_keys()

    def look(self) -> bool:
        """Read what has changed. True if something that can be used did. Never raises."""
        has_changed = False
        stamp = _stamp(self._path)
        if stamp != self._stamps.get("policy"):
            self._stamps["policy"] = stamp
            before = self.policy
            try:
                self.policy = read_policy(self._path)
            except AccessPolicyError as problem:
                self._failed("policy", problem)
            else:
                self._worked("policy")
                has_changed = self.policy != before
                if self.policy.keys_file != before.keys_file:
                    self.keys = NO_KEYS  # those of the file before count no more, whether or not the other can be read
                    self._read_keys()
        if _stamp(self._keys_path) != self._stamps.get("keys"):
            has_changed = self._read_keys() or has_changed
        return has_changed

    def problems(self) -> tuple[str, ...]:
        """What cannot be used now, a line each, for the body of readiness. It names no path: anybody may ask for readiness."""
        return tuple(f"access: the file of the {what} cannot be used; {self._instead(what)}" for what in sorted(self._problems))

    def _instead(self, what: str) -> str:
        return "no key counts" if what == "keys" and self.keys is NO_KEYS else "what it said before counts"

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        yield FAILING, {(what,): float(what in self._problems) for what in ("policy", "keys")}
        yield RELOADS, {key: float(n) for key, n in self._reads.copy().items()}

    @property
    def _keys_path(self) -> Path | None:
        return Path(self.policy.keys_file) if self.policy.keys_file else None

    def _read_keys(self) -> bool:
        path, before = self._keys_path, self.keys
        self._stamps["keys"] = _stamp(path)
        if path is None:
            self.keys = NO_KEYS
            self._problems.pop("keys", None)
            return self.keys is not before
        try:
            self.keys = read_keys(path)
        except AccessPolicyError as problem:
            self._failed("keys", problem)
            return False
        self._worked("keys")
        return self.keys != before

    def _failed(self, what: str, problem: AccessPolicyError) -> None:
        if isinstance(problem.__cause__, OSError):
            self._stamps[what] = _AGAIN
        if self._problems.get(what) == str(problem):
            return
        self._reads[what, "refused"] += 1
        self._problems[what] = str(problem)
        _log.error("%s; %s", problem, self._instead(what))

    def _worked(self, what: str) -> None:
        self._reads[what, "used"] += 1
        if self._problems.pop(what, None) is not None or self._reads[what, "used"] > 1:
            _log.info("access: the %s counts as its file says now", what)


def read_policy(path: Path) -> AccessPolicy:
    """The policy of a file. Raises AccessPolicyError; also for a file that others may write."""
    try:
        with path.open("rb") as file:
            check_mode(path, os.fstat(file.fileno()).st_mode)
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise AccessPolicyError(f"{path}: is larger than {MOST_BYTES} bytes; VEDETTE_ACCESS names the access policy")
        text = content.decode()
    except (OSError, UnicodeDecodeError) as problem:
        why = getattr(problem, "strerror", None) or "it is not UTF-8"
        raise AccessPolicyError(f"{path}: cannot be read: {why}; VEDETTE_ACCESS names the access policy") from problem
    return parse_policy(text, path)


async def follow(gate: Gate, files: AccessFiles, every_s: float = EVERY_S, *, used: Callable[[], None] = lambda: None) -> None:
    """Keep a gate true to its files and its issuers' keys, until cancelled. used: called when the files say something else."""
    while True:
        due = [key_set for key_set in gate.authenticator.key_sets.values() if key_set.is_due()]
        with suppress(TimeoutError):  # the looks go on: an issuer that is slow does not delay the end of a key that was revoked
            async with asyncio.timeout(every_s):
                await asyncio.gather(*(key_set.look() for key_set in due))
        await asyncio.sleep(every_s)
        try:
            if await asyncio.to_thread(files.look):
                gate.use(files.policy, files.keys)
                used()
        except Exception:  # whatever it was, the files are followed
            _log.exception("access: the files cannot be looked at; what was read before counts on")


def _stamp(path: Path | None) -> _Stamp | None:
    """Changes whenever the file does; None if there is none. A mounted Secret is a link: what it points to counts."""
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode)
