"""The correlations of the bundle that a worker scores with: makes the states of its partitions; a serving.stream.state.StateKind."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from serving.errors import ServingError
from serving.models.manifest import Manifest
from serving.ports import Rules
from serving.rules.ruleset import RuleSet
from serving.stream.answers import CannotAnswer
from serving.stream.correlations.plan import Choice, CorrelationPlan, plan_of
from serving.stream.correlations.state import PartitionCorrelations
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition
from serving.stream.state import StateKind

NAME: Final = "correlations"
_log = logging.getLogger("vedette.stream")
RulesOf = Callable[[str], tuple[Manifest, Rules | None]]
"""The manifest and the rules of a model's stable bundle."""


class CorrelationKind:
    """One kind for all bundles: its states go on with the rules of the next one, so a changed rule does not forget the others."""

    name = NAME

    def __init__(self, plan: CorrelationPlan, *, lateness_us: int) -> None:
        self.plan, self._lateness_us = plan, lateness_us
        self.columns: Mapping[str, str] = {}
        self._states: dict[Partition, PartitionCorrelations] = {}

    def use(self, plan: CorrelationPlan) -> None:
        """Go on with another plan."""
        self.plan = plan
        for state in self._states.values():
            state.use(plan)

    def open(self, partition: Partition) -> PartitionCorrelations:
        """See StateKind."""
        state = self._states[partition] = PartitionCorrelations(self.plan, lateness_us=self._lateness_us)
        return state

    def forget(self, partition: Partition) -> None:
        """See StateKind."""
        self._states.pop(partition, None)

    def answering(self, parts: Sequence[StreamEvents]) -> AbstractContextManager[None]:
        """See StateKind: nothing is asked of it."""
        return nullcontext()

    def metrics(self) -> Mapping[str, float]:
        """Groups and events that are kept, events that had to be forgotten, hits, and hits of groups that forgot events."""
        states = list(self._states.values())
        return {
            "groups": float(sum(len(state.engine.groups) for state in states)),
            "items": float(sum(state.engine.items for state in states)),
            "forgotten": float(sum(state.engine.forgotten for state in states)),
            "hits": float(sum(state.hits for state in states)),
            "partial_hits": float(sum(state.partial for state in states)),
        }


class ServedCorrelations:
    """The correlations of the stable bundle, whichever it is; a serving.stream.state.KindsOf. rules_of: asks the replica for them."""

    def __init__(self, rules_of: RulesOf, *, choice: Choice, lateness_s: float) -> None:
        self._rules_of, self._choice = rules_of, choice
        self._lateness_us = int(lateness_s * 1e6)
        self._kind: CorrelationKind | None = None
        self._rules: Rules | None = None

    def __call__(self, manifest: Manifest) -> Sequence[StateKind]:
        """See KindsOf. Raises CannotAnswer if another bundle has just become stable."""
        try:
            found, rules = self._rules_of(manifest.name)
        except ServingError as problem:
            raise CannotAnswer(problem.message) from problem
        if found is not manifest:
            raise CannotAnswer(f"model {manifest.name!r} changes just now; the worker looks again")
        if not isinstance(rules, RuleSet):
            self._kind = self._rules = None
            return ()
        if rules is not self._rules:
            self._rules = rules
            plan = plan_of(rules, [key.name for key in manifest.entity_keys], self._choice)
            if plan is not None:
                self._tell(plan, manifest)
            self._kind = self._next(plan)
        return () if self._kind is None else (self._kind,)

    def _next(self, plan: CorrelationPlan | None) -> CorrelationKind | None:
        if plan is None:
            return None
        if self._kind is None:
            return CorrelationKind(plan, lateness_us=self._lateness_us)
        self._kind.use(plan)
        return self._kind

    def _tell(self, plan: CorrelationPlan, manifest: Manifest) -> None:
        if plan.partial:
            keys = [key.name for key in manifest.entity_keys]
            done = "left out" if self._choice == "whole" else "counted within each partition only"
            _log.warning(
                "correlations %s group by fields without %s, which partitions the events: they are %s; partition the topic by what they "
                "group by",
                list(plan.partial),
                keys,
                done,
            )
