"""Judges one log as a whole: whether its segments name one another, whether each is there or accounted for, and how far the log is
protected. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lifecycle.governance.verify.findings import Finding, FindingKind, LogFigures, Place, Remark, RemarkKind
from lifecycle.governance.verify.segment import Claim, SegmentJudgement
from lifecycle.governance.verify.statements import Statement, Statements
from serving.audit.tombstones import Tombstone

LONGEST_TAIL_US: Final = 60 * 1_000_000
"""A writer makes a checkpoint each second. If records without one span more time than this, a checkpoint was removed."""


@dataclass(frozen=True, slots=True)
class SegmentAccount:
    """One segment as it was found.

    judgement: None if its records are gone. stone: its tombstone, if that counts. tail_us: time from the first to the last record that
    no checkpoint of the log's own writer covers. sealed_us: the same for records that only another writer signed. is_archived: the
    records are in an archive."""

    number: int
    statements: Statements
    judgement: SegmentJudgement | None
    stone: Tombstone | None = None
    tail_us: int = 0
    sealed_us: int = 0
    is_archived: bool = False


@dataclass(frozen=True, slots=True)
class LogJudgement:
    """What a log as a whole shows, besides the judgements of its segments."""

    figures: LogFigures
    findings: tuple[Finding, ...]
    remarks: tuple[Remark, ...]


def judge_log(log: str, accounts: Sequence[SegmentAccount], claims: Sequence[Claim], *, must_sign: bool) -> LogJudgement:
    """Judge a log. accounts: its segments, by number. claims: what others say of it. must_sign: unsigned checkpoints protect nothing."""
    by_number = {account.number: account for account in accounts}
    claims = [claim for claim in claims if claim.log == log]
    findings: list[Finding] = []
    remarks: list[Remark] = []
    links: frozenset[bytes | None] | None = frozenset([None])
    for number in _numbers(by_number, claims):
        account = by_number.get(number)
        before = by_number.get(number - 1)
        findings += _presence(log, number, account, by_number, claims)
        if account is None:
            links = None
            continue
        findings += _link(log, account, before, links) if links is not None else []
        findings += _tombstone(log, account, claims)
        findings += _tail(log, account)
        links = _links(account, links)
    counting = _counting(accounts, must_sign=must_sign)
    protected = {number: max((s.checkpoint.size for s in good), default=0) for number, good in counting.items()}
    for account in accounts:
        found = [*_protection(log, account, protected[account.number]), *_sealing(log, account, counting[account.number])]
        findings += [one for one in found if isinstance(one, Finding)]
        remarks += [one for one in found if isinstance(one, Remark)]
    return LogJudgement(_figures(log, accounts, protected), tuple(findings), tuple(remarks))


def _numbers(by_number: Mapping[int, SegmentAccount], claims: Sequence[Claim]) -> list[int]:
    """The segments to look at: those here, the first of each gap between them, and later ones that others name."""
    newest = max(by_number, default=0)
    gaps = {number + 1 for number in (0, *by_number) if number < newest and number + 1 not in by_number}
    return sorted({*by_number, *gaps, *(claim.segment for claim in claims if claim.segment > newest)})


def _presence(
    log: str,
    number: int,
    account: SegmentAccount | None,
    by_number: Mapping[int, SegmentAccount],
    claims: Sequence[Claim],
) -> list[Finding]:
    """Is the segment here, or accounted for by a tombstone?"""
    if account is not None:
        if account.judgement is not None or account.stone is not None:
            return []
        last = account.statements.last
        count = f", {last.checkpoint.size} of them" if last is not None else ""
        return [
            Finding(
                FindingKind.SEGMENT_MISSING,
                Place(log, number),
                f"its records{count} are missing, and no tombstone accounts for them",
            )
        ]
    speaks = next((claim.source for claim in claims if claim.segment == number), None)
    if not by_number:
        what = f"{speaks or 'another log'} names this log, but none of its files is here"
        return [Finding(FindingKind.REPLICA_MISSING, Place(log, number), what)] if speaks else []
    newest = max(by_number)
    if number < newest:
        following = min(n for n in by_number if n > number)
        what = f"it is missing although segment {newest} follows, and no tombstone accounts for it"
        what += f"; the segments up to {following - 1} are missing too" if following > number + 1 else ""
        return [Finding(FindingKind.SEGMENT_MISSING, Place(log, number), what)]
    if speaks is None:
        return []
    last = by_number[newest].statements.last
    records = by_number[newest].judgement
    if number == newest + 1 and records is not None and (last is None or not last.checkpoint.is_final):
        place = Place(log, newest, records.records + 1)
        what = f"{speaks} names segment {number}: this is an older copy, made before that segment began"
        return [Finding(FindingKind.ROLLED_BACK, place, what)]
    return [Finding(FindingKind.SEGMENT_MISSING, Place(log, number), f"{speaks} names it, but it is not here")]


def _link(log: str, account: SegmentAccount, before: SegmentAccount | None, links: frozenset[bytes | None]) -> list[Finding]:
    """Does the segment name the one before it correctly?"""
    wrong = next((s for s in account.statements.good if s.checkpoint.previous not in links), None)
    if wrong is None:
        return []
    if before is None or wrong.checkpoint.previous is None:
        place = Place(log, account.number, wrong.line, file="checkpoints")
        return [Finding(FindingKind.REWRITTEN, place, "it does not name the previous segment, as every checkpoint must")]
    if before.statements.findings:
        return []  # that finding is the reason
    return [_bad_predecessor(log, account.number, wrong, before)]


def _bad_predecessor(log: str, number: int, wrong: Statement, before: SegmentAccount) -> Finding:
    last = before.statements.last
    speaks = f"segment {number} names a last checkpoint of this segment that is not here"
    place = Place(log, before.number, file="checkpoints")
    if last is None:
        return Finding(FindingKind.CHECKPOINT_FILE_MISSING, place, speaks)
    if last.checkpoint.is_final:
        place = Place(log, number, wrong.line, file="checkpoints")
        return Finding(FindingKind.REWRITTEN, place, "it names another predecessor than the segment that is here")
    wanted = wrong.checkpoint.before - last.checkpoint.before
    if before.judgement is not None and before.judgement.records < wanted:
        place = Place(log, before.number, before.judgement.records + 1, wanted)
        return Finding(FindingKind.ROLLED_BACK, place, f"{speaks}; it had {wanted} records")
    return Finding(FindingKind.CHECKPOINT_MISSING, Place(log, before.number, last.line + 1, file="checkpoints"), speaks)


def _links(account: SegmentAccount, links: frozenset[bytes | None] | None) -> frozenset[bytes | None] | None:
    """What the next segment may name as its predecessor."""
    if account.statements.good:
        own: frozenset[bytes | None] = frozenset(account.statements.links)
        is_sealed = all(s.checkpoint.sealed_by is not None for s in account.statements.good)
        return own | (links or frozenset()) if is_sealed else own  # its writer had made none when it began the next
    if account.stone is not None:
        return frozenset([account.stone.checkpoint])
    return links  # a disk that was full kept no checkpoint of it


def _tombstone(log: str, account: SegmentAccount, claims: Sequence[Claim]) -> list[Finding]:
    """Does the tombstone agree with the segment's checkpoints, and with what others say?"""
    stone, last = account.stone, account.statements.last
    if stone is None:
        return []
    if last is None and not account.statements.findings:
        place = Place(log, account.number, file="checkpoints")
        return [
            Finding(
                FindingKind.CHECKPOINT_FILE_MISSING,
                place,
                "the checkpoints of a removed segment are kept, but these are missing",
            )
        ]
    if last is not None and last.digest != stone.checkpoint and not account.statements.findings:
        place = Place(log, account.number, last.line + 1, file="checkpoints")
        what = "the tombstone names a final checkpoint of this segment that is not here"
        return [Finding(FindingKind.CHECKPOINT_MISSING, place, what)]
    for claim in claims:
        is_other = claim.size > stone.size or (claim.size == stone.size and claim.root != stone.root)
        if claim.segment == account.number and is_other:
            return [
                Finding(FindingKind.REWRITTEN, Place(log, account.number), f"{claim.source} and the tombstone disagree on it")
            ]
    return []


def _tail(log: str, account: SegmentAccount) -> list[Finding]:
    """Find records that have had no checkpoint for longer than any writer takes to make one."""
    if (
        account.tail_us <= LONGEST_TAIL_US
        or account.judgement is None
        or account.judgement.findings
        or account.statements.findings
    ):
        return []
    last = account.statements.last
    what = f"records of {account.tail_us / 1e6:.0f} s have no checkpoint, although a writer makes one each second"
    if last is None:
        return [Finding(FindingKind.CHECKPOINT_FILE_MISSING, Place(log, account.number, file="checkpoints"), what)]
    return [Finding(FindingKind.CHECKPOINT_MISSING, Place(log, account.number, last.line + 1, file="checkpoints"), what)]


def _counting(accounts: Sequence[SegmentAccount], *, must_sign: bool) -> dict[int, list[Statement]]:
    """By segment, the checkpoints that match the records and count: a trusted key signed them, or a signed checkpoint names them,
    directly or through others."""
    found: dict[int, list[Statement]] = {}
    named: set[bytes] = set()
    for account in reversed(accounts):
        judged = account.judgement
        known = [s for s in account.statements.good if s.is_signed or s.digest in named or not must_sign]
        named |= {s.checkpoint.previous for s in known if s.checkpoint.previous is not None}
        fits = {s.line for s in judged.fits} if judged is not None else set()
        found[account.number] = [s for s in known if s.line in fits]
    return found


def _protection(log: str, account: SegmentAccount, protected: int) -> list[Finding | Remark]:
    judged, statements = account.judgement, account.statements
    if judged is None:
        return []
    found: list[Finding | Remark] = []
    unsigned = [s for s in judged.fits if not s.is_signed]
    if unsigned:
        place = Place(log, account.number, unsigned[0].line, unsigned[-1].line, file="checkpoints")
        if unsigned[-1].checkpoint.size > protected and not judged.findings:
            place = Place(log, account.number, protected + 1, unsigned[-1].checkpoint.size)
            found.append(Finding(FindingKind.UNSIGNED, place, "no trusted key signed a checkpoint over these records"))
        else:
            found.append(Remark(RemarkKind.UNSIGNED, place, f"{len(unsigned)} checkpoints have no signature"))
    newest = max((s.checkpoint.size for s in statements.good), default=0)
    if judged.records > newest and not judged.findings:
        place = Place(log, account.number, newest + 1, judged.records)
        what = f"{judged.records - newest} records come after the last checkpoint"
        found.append(Remark(RemarkKind.NOT_PROTECTED, place, what))
    if account.stone is not None and not account.is_archived:
        what = "a tombstone says that its records were removed, but they are here"
        found.append(Remark(RemarkKind.NOT_REMOVED, Place(log, account.number), what))
    return found


def _sealing(log: str, account: SegmentAccount, counting: Sequence[Statement]) -> list[Finding | Remark]:
    """Find records that only another writer signed when it ended the segment. Anybody who may write to the folder may have added them."""
    judged, statements = account.judgement, account.statements
    own = max((s.checkpoint.size for s in counting if s.checkpoint.sealed_by is None), default=None)
    sealed = max((s.checkpoint.size for s in counting), default=0)
    if judged is None or judged.findings or statements.findings or sealed <= (own or 0) or account.tail_us > LONGEST_TAIL_US:
        return []
    place = Place(log, account.number, (own or 0) + 1, sealed)
    if own is None:
        what = "its own writer signed no checkpoint of it; another writer found it and ended it"
        return [Finding(FindingKind.UNSIGNED, place, what)]
    if account.sealed_us > LONGEST_TAIL_US:
        what = f"its own writer signed no checkpoint of records of {account.sealed_us / 1e6:.0f} s; another writer ended it"
        return [Finding(FindingKind.UNSIGNED, place, what)]
    what = "its writer ended before it made a checkpoint of them, as a writer does that is killed"
    return [Remark(RemarkKind.SEALED, place, what)]


def _figures(log: str, accounts: Sequence[SegmentAccount], protected: Mapping[int, int]) -> LogFigures:
    here = [account.judgement for account in accounts if account.judgement is not None]
    return LogFigures(
        log,
        segments=len(accounts),
        records=sum(judgement.records for judgement in here),
        protected=sum(protected.values()),
        checkpoints=sum(len(account.statements.good) for account in accounts),
        removed=sum(a.stone.size for a in accounts if a.stone is not None and a.judgement is None),
    )
