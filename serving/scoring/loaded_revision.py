"""A revision that is loaded and ready to answer: everything a request needs, worked out beforehand. Core.

serving.loading.loaded_bundle makes it from a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from serving.messages import ModelMetadata
from serving.models.manifest import Manifest, OperatingPoint
from serving.models.verdicts import CalibrationTable, ConformalTable
from serving.ports import Model, RowExplainer, Rules, Suppressions, TensorPlan
from serving.scoring.inputs import InputPlan

STABLE: Final = "stable"
INLINE_BUDGET_US: Final = 2_000.0
"""How long a run may hold the event loop, microseconds."""


@dataclass(frozen=True, slots=True)
class LoadedRevision:
    """One loaded revision of one model version, under the name of the variant it answers as."""

    name: str
    version: str
    variant: str
    digest: str
    bundle: str
    manifest: Manifest
    model: Model
    inputs: InputPlan
    assembly: tuple[TensorPlan, ...]
    calibration: CalibrationTable | None
    feature_service: str | None
    points: Mapping[str, OperatingPoint]
    default_point: str | None
    verdict_outputs: tuple[str, ...]
    default_outputs: tuple[str, ...]
    """The outputs of a request that names none."""
    takes_text: bool
    """Whether a tensor of the graph is text, which the runtime wants in another form."""
    model_outputs: frozenset[str]
    row_outputs: tuple[str, ...]
    """Outputs of the graph, beside the score, that hold an entry for each row."""
    metadata: ModelMetadata
    run_us: float
    """Median time of one run on the golden inputs; decides whether a run may hold the event loop."""
    personal: Mapping[str, str] = field(default_factory=dict)
    """How the prediction log redacts personal columns and tensors that hold some; empty: nothing is redacted."""
    rules: Rules | None = None
    """Rules that answer when the model or its features are out."""
    suppressions: Suppressions | None = None
    """Known causes of false alarms; None: there are none."""
    explainer: RowExplainer | None = None
    """Says why; None for a model without a score."""
    has_triage: bool = False
    """Whether `model` ends clear cases before it runs (serving.scoring.triage)."""
    unknown: ConformalTable | None = None
    """Where the bundle asks for the verdict `unknown`; None: it does not."""
    conformal: ConformalTable | None = None
    """Where the bundle has conformal sets, whether or not it asks for `unknown`."""
    plans: dict[tuple[tuple[str, ...], str | None], object] = field(init=False, repr=False, compare=False, default_factory=dict)
    """Plans made so far, by outputs and operating point; see serving.scoring.answer_plan."""
    makers: dict[tuple[str, bool], object] = field(init=False, repr=False, compare=False, default_factory=dict)
    """Output makers made so far, by name and whether there are verdicts."""

    def may_run_inline(self, rows: int) -> bool:
        """Whether a run of this many rows is short enough for the event loop."""
        return self.run_us * rows <= INLINE_BUDGET_US

    def as_variant(self, name: str) -> "LoadedRevision":
        """The same revision under another variant's name; nothing is loaded anew."""
        return self if self.variant == name else replace(self, variant=name)
