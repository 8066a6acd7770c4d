"""Explanations of one bundle's answers as JSON, row by row: what a client, a batch and the command line are given alike.

Attributions and counterfactuals are computed by the explainer; words are made in serving.explanations.words. Where and when this
runs is the caller's: it is pure work that may take long."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from threading import Lock
from typing import Any, Final

import orjson
from numpy.typing import NDArray

from serving.errors import BadRequest, Unavailable
from serving.explanations.columns import InputColumns
from serving.explanations.counterfactual import WantedScores
from serving.explanations.explainer import Explainer, refuse_late
from serving.explanations.explanation import Attribution, UnexplainableModel
from serving.explanations.sampling import ReadSeconds
from serving.explanations.surrogate import SurrogateTree, condition_words
from serving.explanations.words.counterfactuals import counterfactual_body
from serving.explanations.words.reasons import BENIGN, CellValue, reasons_of, row_of
from serving.explanations.words.reference import Reference
from serving.models.bundle import Bundle
from serving.models.errors import BundleError, RunError, message_for_clients
from serving.models.manifest import ExplainSpec
from serving.ports import JudgedRows, Model

ALERT: Final = "alert"
_NO_WORDS: Final = ExplainSpec()


class BundleExplainer:
    """Explains the answers of one bundle. What it needs is made at the first use, and kept; so is the reason why it cannot be made."""

    def __init__(self, bundle: Bundle, model: Model, *, clock: ReadSeconds = time.monotonic) -> None:
        self._bundle, self._model, self._clock, self._lock = bundle, model, clock, Lock()
        self._words = bundle.manifest.explain or _NO_WORDS
        self._surrogates: dict[tuple[float, float], SurrogateTree] = {}

    def explain(self, method: str, rows: JudgedRows, budget_s: float) -> list[bytes]:
        """See the port RowExplainer."""
        ways: Mapping[str, Callable[[JudgedRows, float], list[dict[str, Any]]]] = {
            "shap": self._by_attribution,
            "rules": self._by_rules,
            "counterfactual": self._by_counterfactual,
        }
        try:
            with self._lock:  # what is kept is made once
                bodies = ways[method](rows, budget_s)
        except (UnexplainableModel, RunError) as problem:
            raise BadRequest(
                f"model {self._bundle.manifest.name!r} cannot be explained by {method!r}: {problem}; ask without the parameter 'explain' "
                "for the verdict alone"
            ) from problem
        except BundleError as problem:  # it was loaded from these files; somebody has changed them since
            raise Unavailable(
                f"model {self._bundle.manifest.name!r} cannot be explained, because its bundle's files have changed since it was loaded: "
                f"{message_for_clients(problem, self._bundle.folder)}; ask without the parameter 'explain' for the verdict alone"
            ) from problem
        heads = [_head(rows, index) for index in range(len(bodies))]
        return [orjson.dumps(head | body, option=orjson.OPT_SERIALIZE_NUMPY) for head, body in zip(heads, bodies, strict=True)]

    @property
    def _explainer(self) -> Explainer:
        if isinstance(self._made, str):
            raise UnexplainableModel(self._made)
        return self._made

    @cached_property
    def _made(self) -> Explainer | str:
        """Or why not: a model that fails on its own reference rows fails on them again."""
        try:
            return Explainer.of(self._bundle, self._model.run, clock=self._clock)
        except (UnexplainableModel, RunError) as problem:
            return str(problem)

    @cached_property
    def _reference(self) -> Reference | None:
        return Reference.read(self._bundle.folder)

    def _by_attribution(self, rows: JudgedRows, budget_s: float) -> list[dict[str, Any]]:
        attributions = self._explainer.explain(rows.tensors, budget_s=budget_s, clock=self._clock)
        columns = self._table(rows.tensors)
        return [
            self._attribution_body(attribution, row_of(columns, index), rows.verdicts[index])
            for index, attribution in enumerate(attributions)
        ]

    def _attribution_body(self, attribution: Attribution, row: Mapping[str, CellValue], verdict: str) -> dict[str, Any]:
        reasons = reasons_of(attribution, row, verdict, self._words, self._reference)
        return {
            "method": attribution.method,
            "unit": attribution.unit,
            "base": attribution.base,
            "error": attribution.error,
            "is_exact": attribution.is_exact,
            "background": attribution.background,
            "fidelity": attribution.fidelity,
            "reasons": [asdict(reason) for reason in reasons],
            "attributions": dict(zip(attribution.columns, attribution.values.tolist(), strict=True)),
        }

    def _by_counterfactual(self, rows: JudgedRows, budget_s: float) -> list[dict[str, Any]]:
        bodies, began_s = [], self._clock()
        for index, verdict in enumerate(rows.verdicts):
            passed_s = self._clock() - began_s
            refuse_late(passed_s, budget_s, index, len(rows.verdicts))
            wanted = ALERT if verdict == BENIGN else BENIGN
            target = WantedScores(low=rows.alert) if wanted == ALERT else WantedScores(high=rows.investigate)
            share_s = max(budget_s - passed_s, 0.0) / (len(rows.verdicts) - index)
            one = self._explainer.columns.row(rows.tensors, index) if self._explainer.columns is not None else rows.tensors
            search = self._explainer.counterfactuals(
                one, target=target, budget_s=share_s, fixed=self._bundle.manifest.personal, clock=self._clock
            )
            bodies.append(
                {
                    "method": "counterfactual",
                    "wanted": wanted,
                    "is_met": search.is_met,
                    "counterfactuals": [counterfactual_body(found, wanted, self._words) for found in search.found],
                    "nearest_score": search.nearest,
                    "is_whole": search.is_whole,
                }
            )
        return bodies

    def _by_rules(self, rows: JudgedRows, budget_s: float) -> list[dict[str, Any]]:
        tree = self._surrogate(rows)
        columns = self._table(rows.tensors)
        bodies = []
        for index in range(len(rows.verdicts)):
            row = row_of(columns, index)
            leaf = tree.leaf_of(row)
            conditions = [asdict(one) | {"sentence": condition_words(one, self._words)} for one in leaf.conditions]
            bodies.append(
                {
                    "method": "rules",
                    "rule": " and ".join(one["sentence"] for one in conditions) or "every row",
                    "conditions": conditions,
                    "says": leaf.verdict,
                    "agrees": leaf.verdict == rows.verdicts[index],
                    "support": leaf.rows,
                    "precision": leaf.precision,
                    "fidelity": tree.fidelity,
                    "fidelity_rows": tree.held_out,
                    "background": tree.background,
                }
            )
        return bodies

    def _table(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The columns of some rows. Raises UnexplainableModel for rows of another form than the bundle's own."""
        columns = self._explainer.columns
        if columns is None or not columns.fits(tensors):
            raise UnexplainableModel("the rows have other columns than the bundle's reference rows")
        return table_of(columns, tensors)

    def _surrogate(self, rows: JudgedRows) -> SurrogateTree:
        key = (rows.investigate, rows.alert)
        found = self._surrogates.get(key)
        if found is None:
            background = self._explainer.background
            if background is None:
                raise UnexplainableModel("the bundle has neither a reference sample nor golden rows to fit rules on")
            coded = {name for name, template in self._words.reasons.items() if template.words}
            told = self._bundle.manifest.personal  # a rule would show what the training rows hold of other people
            table = {name: values for name, values in self._table(background.tensors).items() if name not in told}
            scores = self._explainer.base_scores
            found = SurrogateTree.fit(table, scores, *key, background=background.name, coded=coded)
            self._surrogates = {**dict(list(self._surrogates.items())[-7:]), key: found}
        return found


def _head(rows: JudgedRows, index: int) -> dict[str, Any]:
    return {
        "verdict": rows.verdicts[index],
        "score": float(rows.scores[index]),
        "operating_point": rows.point,
        "threshold": rows.alert,
        "investigate": rows.investigate,
    }


def table_of(columns: InputColumns, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The columns of rows of tensors, each of shape (n,)."""
    places = [columns.place(at) for at in range(len(columns.names))]
    return {name: tensors[tensor][(slice(None), *at)] for name, (tensor, at) in zip(columns.names, places, strict=True)}
