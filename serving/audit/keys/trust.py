"""Which keys verification trusts for a note of a given time. Pure except for `read` and `of_store`, which read small files.

A verifier pins keys: it has them from somewhere other than the log. A pinned key may vouch for the key that takes its place, by a note in
`FOLDER/chain/keys.jsonl`; that key may vouch for the next. So checkpoints of replaced keys stay verifiable, and a pin need not change:

    vedette-audit-key
    key VERIFIERKEY          the new key
    replaces VERIFIERKEY     the key that signed this note
    time_us T                when, microseconds since the epoch, UTC

A key signs from the moment it is vouched for to the moment it is replaced, and OVERLAP_US beyond either, as replicas change keys one after
another and their clocks differ. The time of a note is what its signer says: a stolen key can lie about it. Against that a verifier revokes
the key in a file of its own, and reads the anchors. A revoked key vouches for nobody."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from serving.audit.segment_files import IrregularFile, decode_note, note_lines
from serving.audit.signed_note import NoteError, VerifierKey, signers_of, text_of, whole_number
from serving.files.bounded_files import read_bounded

KIND: Final = "vedette-audit-key"
"""First line of a note by which a key vouches for its successor."""
OVERLAP_US: Final = 24 * 3600 * 1_000_000
"""How long a replaced key may still sign, and how long before its first day a new one may, microseconds."""
MOST_BYTES: Final = 1024 * 1024
"""Of a file of keys, or of revocations: some ten thousand lines."""
REVOKED: Final = "revoked"
"""Name of the file of revocations beside the pinned keys: `VERIFIERKEY time_us T` a line."""
_TIME: Final = re.compile(r"^time_us ([0-9]{1,16})$", re.MULTILINE)
_REVOKED: Final = re.compile(r"^(\S+) time_us ([0-9]{1,18})$")


@dataclass(frozen=True, slots=True)
class KeyNote:
    """A key vouches for the one that takes its place."""

    key: VerifierKey
    replaces: VerifierKey
    time_us: int

    def text(self) -> str:
        """The text that the replaced key signs."""
        return f"{KIND}\nkey {self.key}\nreplaces {self.replaces}\ntime_us {self.time_us}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text. Raises NoteError."""
        try:
            kind, *rest = text.removesuffix("\n").split("\n")
            words = dict(line.split(" ", 1) for line in rest)
            note = cls(VerifierKey.parse(words["key"]), VerifierKey.parse(words["replaces"]), whole_number(words["time_us"]))
        except (KeyError, ValueError) as error:
            raise NoteError(f"not a note about a key: {text[:80]!r}") from error
        if kind != KIND or note.text() != text:
            raise NoteError(f"not a note about a key in canonical form: {text[:80]!r}")
        return note


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key and the times at which it may sign, microseconds since the epoch. until_us: None while nothing ended it. why: in words."""

    key: VerifierKey
    from_us: int
    until_us: int | None
    why: str

    def may_sign(self, time_us: int) -> bool:
        """Whether a note of this time may bear its signature."""
        return self.from_us <= time_us and (self.until_us is None or time_us <= self.until_us)


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys that a verifier trusts. problems: notes about keys that do not count, each with the reason."""

    keys: tuple[TrustedKey, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def build(
        cls, pinned: Iterable[VerifierKey], notes: Sequence[str] = (), revoked: Mapping[VerifierKey, int] | None = None
    ) -> Self:
        """What the pinned keys and the notes signed by them amount to. revoked: by key, the last time at which it may sign."""
        revoked = revoked or {}
        began = dict.fromkeys(pinned, 0)
        why = dict.fromkeys(began, "pinned")
        replaced: dict[VerifierKey, KeyNote] = {}
        waiting, problems = list(notes), []
        while waiting:
            later = []
            for note in waiting:
                try:
                    statement = KeyNote.parse(text_of(note))
                    if statement.replaces not in began:
                        later.append(note)
                        continue
                    _accept(note, statement, began, why, replaced, revoked)
                except NoteError as error:
                    problems.append(str(error))
            if len(later) == len(waiting):
                problems += [f"no trusted key signed this note about a key: {text_of(note)!r}" for note in later]
                break
            waiting = later
        keys = tuple(
            TrustedKey(key, from_us, _end_of(key, replaced, revoked), _why(key, why[key], replaced, revoked))
            for key, from_us in began.items()
        )
        return cls(keys, tuple(problems))

    @classmethod
    def read(cls, folder: Path, pinned: Iterable[VerifierKey], revoked: Mapping[VerifierKey, int] | None = None) -> Self:
        """Trust in the log of this folder: what is pinned, and what `chain/keys.jsonl` says. Raises OSError."""
        notes, problems = [], []
        try:
            lines = note_lines(folder / "chain" / "keys.jsonl")
        except IrregularFile as error:
            return cls.build(pinned, (), revoked)._with(str(error))
        for number, line in enumerate(lines, start=1):
            try:
                notes.append(decode_note(line))
            except NoteError as error:
                problems.append(f"line {number} of the notes about keys is not a signed note: {error}")
        return cls.build(pinned, notes, revoked)._with(*problems)

    def _with(self, *problems: str) -> Self:
        return type(self)(self.keys, (*problems, *self.problems))

    @classmethod
    def of_store(cls, store: Path, folder: Path) -> Self:
        """Trust in a log of a store by the keys that the store itself pins (`STORE/keys/trusted`). Whoever can write to the store can
        change these: an auditor pins keys from elsewhere. Raises NoteError, OSError."""
        trusted = trusted_folder(store)
        return cls.read(folder, read_pinned(trusted), read_revoked(trusted))

    def signers(self, note: str) -> list[VerifierKey]:
        """Which trusted keys signed the note and were allowed to at the note's time. Empty: nobody did; `why_not` says more.

        Raises NoteError for a malformed note and for a signature that claims a trusted key and does not fit."""
        found = signers_of(note, [trusted.key for trusted in self.keys])
        if not found:
            return []
        time_us = time_of(note)
        allowed = {trusted.key for trusted in self.keys if trusted.may_sign(time_us)}
        return [key for key in found if key in allowed]

    def why_not(self, note: str) -> str:
        """Why nobody who is trusted signed a note, in words. Raises NoteError as `signers` does."""
        signed = signers_of(note, [trusted.key for trusted in self.keys])
        late = [trusted for trusted in self.keys if trusted.key in signed]
        if late:
            return "; ".join(f"key {t.key.name}+{t.key.key_id.hex()} may not sign at that time: {t.why}" for t in late)
        names = [line.split(" ")[1] for line in note[len(text_of(note)) + 1 :].splitlines()]
        if not names:
            return "it has no signature: its writer had no key"
        return f"it is signed by {', '.join(names)}, which is not a trusted key"


def time_of(note: str) -> int:
    """The time that a note of the chain says, microseconds since the epoch. Raises NoteError where it says none, or two."""
    found = _TIME.findall(text_of(note))
    if len(found) != 1:
        raise NoteError(f"the note must have exactly one line `time_us T`: {note[:80]!r}")
    return int(found[0])


def trusted_folder(store: Path) -> Path:
    """Where a store pins the keys that verification trusts."""
    return store / "keys" / "trusted"


def read_pinned(folder: Path) -> tuple[VerifierKey, ...]:
    """The keys in `*.pub` files, one a line. Raises NoteError, OSError."""
    lines = [line for path in sorted(folder.glob("*.pub")) for line in _text(path).splitlines()]
    return tuple(dict.fromkeys(VerifierKey.parse(line) for line in lines if line.strip()))


def read_revoked(folder: Path) -> dict[VerifierKey, int]:
    """By key, the last time at which it may sign. Raises NoteError for a line of another form, OSError."""
    path = folder / REVOKED
    found: dict[VerifierKey, int] = {}
    for number, line in enumerate(_text(path).splitlines() if path.exists() else (), start=1):
        match = _REVOKED.match(line)
        if match is None:
            raise NoteError(f"{path}, line {number}: expected VERIFIERKEY time_us T, not {line[:80]!r}")
        key = VerifierKey.parse(match[1])
        found[key] = min(int(match[2]), found.get(key, int(match[2])))
    return found


def _text(path: Path) -> str:
    try:
        return read_bounded(path, MOST_BYTES).decode()
    except UnicodeDecodeError as problem:
        raise NoteError(f"{path} is no file of keys: it holds bytes that are no text") from problem


def _accept(
    note: str,
    statement: KeyNote,
    began: dict[VerifierKey, int],
    why: dict[VerifierKey, str],
    replaced: dict[VerifierKey, KeyNote],
    revoked: Mapping[VerifierKey, int],
) -> None:
    """Take in one note of a key that is trusted. Raises NoteError if it does not count."""
    old, new = statement.replaces, statement.key
    if old not in signers_of(note, [old]):
        raise NoteError(f"a note says that {_short(new)} replaces {_short(old)}, but {_short(old)} did not sign the note")
    if statement.time_us < began[old]:
        raise NoteError(f"{_short(old)} vouched for {_short(new)} before {_short(old)} was valid itself")
    if old in replaced:
        if replaced[old].key != new:
            raise NoteError(f"{_short(old)} already has a successor; a second one, {_short(new)}, does not count")
        return
    if new in replaced:
        raise NoteError(f"{_short(new)} has been replaced; a replaced key cannot be a successor")
    replaced[old] = statement
    if new not in began and old not in revoked:
        began[new] = max(0, statement.time_us - OVERLAP_US)
        why[new] = f"{_short(old)} vouched for it at time_us {statement.time_us}"


def _end_of(key: VerifierKey, replaced: Mapping[VerifierKey, KeyNote], revoked: Mapping[VerifierKey, int]) -> int | None:
    ends = [replaced[key].time_us + OVERLAP_US] if key in replaced else []
    ends += [revoked[key]] if key in revoked else []
    return min(ends, default=None)


def _why(key: VerifierKey, why: str, replaced: Mapping[VerifierKey, KeyNote], revoked: Mapping[VerifierKey, int]) -> str:
    reasons = [why]
    reasons += [f"replaced by {_short(replaced[key].key)} at time_us {replaced[key].time_us}"] if key in replaced else []
    reasons += [f"revoked after time_us {revoked[key]}"] if key in revoked else []
    return ", ".join(reasons)


def _short(key: VerifierKey) -> str:
    return f"key {key.name}+{key.key_id.hex()}"
