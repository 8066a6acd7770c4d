"""The outcomes of triage for each row, and how answers and records show them. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TRIAGE: Final = "triage"
"""The source of an answer whose rows triage ended; as an output of a run: the outcome of each row."""
AND_TRIAGE: Final = f"+{TRIAGE}"
"""In the source of an answer of which triage ended some rows, as in `model+triage`."""
OUTCOMES: Final = ("passed", "ended", "audited", "failed", "skipped")
"""By code. Passed: the cheap model's score is not below the bound. Ended: benign without the model. Audited: below the bound, and the model
ran anyway. Failed: the cheap model failed. Skipped: the request needs the model's outputs. All but ended rows go to the model."""
PASSED, ENDED, AUDITED, FAILED, SKIPPED = (np.int8(code) for code in range(5))
Outcomes = NDArray[np.int8]
_BENIGN: Final = 0


def outcomes_of(raw: Mapping[str, NDArray[Any]]) -> Outcomes | None:
    """The outcomes among the outputs of a run; None where triage is off."""
    return raw.get(TRIAGE)


def with_ended(codes: NDArray[np.intp], outcomes: Outcomes | None) -> NDArray[np.intp]:
    """Verdict codes with `benign` for the rows that triage ended: they have no score."""
    return codes if outcomes is None else np.where(outcomes == ENDED, _BENIGN, codes)


def counted(outcomes: Outcomes, codes: NDArray[np.intp]) -> dict[str, int]:
    """Rows by outcome; audited rows that the model finds not benign apart. codes: of the model's verdicts."""
    counts = {OUTCOMES[code]: int(n) for code, n in enumerate(np.bincount(outcomes, minlength=len(OUTCOMES)).tolist()) if n}
    if "audited" in counts and (lost := int(((outcomes == AUDITED) & (codes != _BENIGN)).sum())):
        counts["audited_lost"] = lost
        counts["audited"] -= lost
    return {name: n for name, n in counts.items() if n}


def words_of(outcomes: Outcomes) -> list[str]:
    """The outcome of each row in words."""
    return [OUTCOMES[code] for code in outcomes.tolist()]


def is_bypassed(words: Sequence[str]) -> bool:
    """Whether these rows were run without triage. words: of a record."""
    return any(word in (OUTCOMES[FAILED], OUTCOMES[SKIPPED]) for word in words)


def source_of_row(source: str, *, is_ended: bool, has_rules: bool) -> str:
    """The source of one row of an answer. source: of the answer, e.g. `model+triage+rules`."""
    first, *more = source.split("+")
    return f"{TRIAGE if is_ended else first}{'+rules' if has_rules and 'rules' in more else ''}"


def sources_by_row(parameters: Mapping[str, object], rows: int) -> list[str] | None:
    """The source of each row of an answer, by its parameters; None where triage ended none, and the answer's is that of all."""
    if "triaged" not in parameters:
        return None
    source, ended = str(parameters["source"]), set(json.loads(str(parameters["triaged"])))
    rules = json.loads(str(parameters["rules"])) if "rules" in parameters else [[]] * rows
    return [source_of_row(source, is_ended=row in ended, has_rules=bool(rules[row])) for row in range(rows)]


def source_of(source: str, outcomes: Outcomes | None) -> str:
    """The source of an answer by the model or the cache, where triage ended all its rows or some."""
    if outcomes is None:
        return source
    ended = outcomes == ENDED
    return TRIAGE if ended.all() else f"{source}{AND_TRIAGE}" if ended.any() else source
