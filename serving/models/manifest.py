"""bundle.json: what a bundle says of itself. Parsed once at the border; everything within is a value.

Pure: reading, hashing and verifying files is serving.models.bundle's."""

from collections.abc import Collection, Mapping, Sequence
from string import Formatter
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from serving.features.windows.spec import WindowSpec
from serving.models.parts.conformal import ConformalSpec
from serving.models.parts.part import ManifestPart, Ratio
from serving.models.parts.triage import TRIAGE_GOLDEN, TRIAGE_MODEL, TriageSpec
from serving.rules.declared.rules_spec import RULE_COLUMNS, RulesSpec
from serving.rules.declared.rules_yaml import Technique
from serving.spec import Finite

SCHEMA: Final = 1
SCENARIOS: Final = ("breach_response", "siem_alerting", "executive_dashboard")
"""The operating points every detector of ours has. A bundle may name others."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?$")]

REASON_PLACES: Final = ("value", "unit", "percentile", "column")
"""What a reason's text may leave to be filled in, each in braces."""

SamplingUnit = Literal["row", "entity", "group", "attack_type"]
"""What validation data was drawn by, independently of one another."""

Redaction = Literal["encrypt", "hash", "truncate", "drop"]
"""How the prediction log writes a personal column."""


class TensorSpec(ManifestPart):
    """One input or output of the ONNX graph."""

    name: str
    """Name in the graph."""
    datatype: str
    """The protocol's datatype: FP32, INT64, BYTES, ..."""
    shape: tuple[int, ...]
    """-1 is a variable dimension."""


def rows_of(inputs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]], non_row_inputs: Collection[str] = ()) -> int:
    """How many rows tensors of these shapes hold: the size of the first dimension where the signature leaves it free.

    non_row_inputs: inputs whose first dimension is not the row, e.g. weights of shape [m] beside rows of shape [n, m]. Without a free
    first dimension the result is the first dimension of the first input, or 1 for a scalar. Raises ValueError if free ones differ."""
    free = {
        spec.name: shapes[spec.name][0]
        for spec in inputs
        if spec.shape and spec.shape[0] == -1 and spec.name not in non_row_inputs
    }
    if len(set(free.values())) > 1:
        sizes = ", ".join(f"{name!r} {size}" for name, size in free.items())
        raise ValueError(f"the inputs have different numbers of rows: {sizes}; send the same number in each")
    if free:
        return next(iter(free.values()))
    first = shapes[inputs[0].name] if inputs else ()
    return first[0] if first else 1


class FieldSpec(ManifestPart):
    """A column a client sends: an entity key or a request-time field."""

    name: str
    """Name that clients use."""
    datatype: str
    """The protocol's datatype."""
    description: str = ""
    """For people."""


class TensorAssembly(ManifestPart):
    """How one input tensor is put together from named columns.

    A tensor of shape [-1, k] takes k columns in order; a tensor of shape [-1] or [-1, 1] takes one."""

    tensor: str
    """Name of the graph's input."""
    columns: tuple[str, ...]
    """Names of request fields or features (`view__feature`)."""


class ScoreSpec(ManifestPart):
    """Which output, and which column of it, is the score (higher: more likely an attack)."""

    output: str
    """Name of the graph's output."""
    column: int | None = None
    """Index into the last dimension of an output of shape [n, k]; None for an output of shape [n] or [n, 1]."""


class Expected(ManifestPart):
    """Figures of an operating point on the validation data. The precision is valid for `attack_share` only."""

    precision: Ratio
    """Share of the alerts that were attacks."""
    recall: Ratio
    """Share of the attacks that alerted."""
    f1: Ratio
    """Harmonic mean of precision and recall."""
    false_alarm_rate: Ratio
    """Share of the benign rows that alert."""
    attack_share: Ratio
    """Share of attacks among the rows these figures were measured on."""
    rows: int
    """Rows they were measured on."""
    is_met: bool = True
    """Whether the requirement holds with the requested confidence; without one, whether it holds on the validation rows."""


class Guarantee(ManifestPart):
    """A floor that the threshold keeps with this confidence, over draws of the validation data.

    Source: Angelopoulos et al. (2021), "Learn then Test", arXiv:2110.01052."""

    confidence: Ratio
    """1 - delta."""
    what: Literal["recall", "precision", "f1"]
    """Which figure. For units other than rows, every unit has the same weight, regardless of its number of rows."""
    bound: Ratio
    """Lower bound of the figure."""
    attack_share: Ratio | None = None
    """The share of attacks for which a precision or F1 holds; unset for a recall, which does not depend on it."""
    unit: SamplingUnit
    """The unit that is drawn independently."""
    units: int
    """Number of units with attacks."""
    benign_units: int | None = None
    """Number of benign units; unset for a recall, which does not use them."""
    method: str
    """The statistical test that shows it."""


class OperatingPoint(ManifestPart):
    """A scenario. A score at or over `threshold` gives alert; one at or over `investigate` gives investigate."""

    threshold: Finite
    """Lowest raw score of an alert."""
    investigate: Finite
    """Lowest raw score of the verdict investigate; not over `threshold`."""
    requirement: str
    """The rule the threshold was chosen by, e.g. `recall >= 0.98`."""
    expected: Expected | None = None
    """Its figures on the validation data; unset if they were not measured."""
    holds: Guarantee | None = None
    """The guarantee and its confidence; unset: no guarantee."""
    shortfall: str = ""
    """Why the requested guarantee cannot be given, and what it would need. The threshold is then the nearest one."""

    @model_validator(mode="after")
    def _ordered(self) -> "OperatingPoint":
        if self.investigate > self.threshold:
            raise ValueError(
                f"investigate ({self.investigate}) is over threshold ({self.threshold}); it must be the lower of the two"
            )
        return self


class Calibration(ManifestPart):
    """Inductive Venn-Abers: two non-decreasing step functions of the score.

    For a score s with scores[i] <= s < scores[i+1], the probability of an attack lies in [low[i], high[i]]; below scores[0]
    the first pair holds. Source: Vovk, Petej & Fedorova (2015), "Large-scale probabilistic predictors with and without
    guarantees of validity", NIPS."""

    method: Literal["venn-abers"] = "venn-abers"
    """The calibration method."""
    scores: tuple[Finite, ...]
    """Scores at which the steps begin, ascending."""
    low: tuple[Ratio, ...]
    """Lower probability from each score on."""
    high: tuple[Ratio, ...]
    """Upper probability from each score on."""
    rows: int
    """Number of validation rows that the steps were fitted on."""


class ReasonTemplate(ManifestPart):
    """The text that an analyst reads if a column supports a verdict."""

    code: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
    """Identifier for programs. It stays the same when the text changes."""
    text: Annotated[str, Field(min_length=1, max_length=400)]
    """A sentence without its full stop; `{value}`, `{unit}`, `{percentile}` and `{column}` are filled in. How the value compares
    with the training rows is added, unless the text has `{percentile}`."""
    unit: str = ""
    """Unit of the value, e.g. `bytes`. With `share` a value of 0..1 is written as a percentage."""
    words: Mapping[str, str] = {}
    """Value -> word, for a column of codes: `"1": tcp`."""
    bits: Mapping[str, str] = {}
    """Bit -> word, for a column of flags: `"1": FIN`, `"2": SYN`."""

    @field_validator("text")
    @classmethod
    def _fillable(cls, text: str) -> str:
        try:
            asked = [(name, form, conversion) for _, name, form, conversion in Formatter().parse(text) if name is not None]
        except ValueError as problem:
            raise ValueError(f"{text!r}: {problem}; write a literal brace twice") from problem
        unknown = [name for name, form, conversion in asked if name not in REASON_PLACES or form or conversion]
        if unknown:
            raise ValueError(f"{text!r} has {{{unknown[0]}}}, expected some of {', '.join(f'{{{n}}}' for n in REASON_PLACES)}")
        return text


class ExplainSpec(ManifestPart):
    """How answers of the bundle are explained."""

    reasons: Mapping[str, ReasonTemplate] = {}
    """Column -> its text. A column without an entry is shown by its name."""


class Golden(ManifestPart):
    """How closely the outputs must reproduce golden.json."""

    file: str = "golden.json"
    """Path within the bundle."""
    processor: str
    """The processor family that made it. On this family the outputs must be equal bit by bit."""
    tolerance: Finite = 1e-5
    """Maximum absolute difference of a float output on other processor families."""


class Lineage(ManifestPart):
    """Where the model comes from."""

    data_digest: str
    """Digest of the training data."""
    data: Mapping[str, Any] = {}
    """Rows, attacks and time range of the training data."""
    findings: tuple[str, ...] = ()
    """Findings about the quality of the data."""
    features: Mapping[str, Any] = {}
    """The feature service that training joined: name, digest of its definition, feature views; empty: none."""
    code_commit: str
    """Commit of the code that trained; `sources:` and a SHA-256 of its files where it ran outside of its checkout."""
    seed: int | None = None
    """Seed of everything random in training."""
    parameters: Mapping[str, Any] = {}
    """Parameters of the model."""
    environment: Mapping[str, str] = {}
    """Python, processor family, and versions of the libraries that training used."""
    metrics: Mapping[str, Any] = {}
    """Figures that training measured."""
    detector: Mapping[str, Any] = {}
    """The detector's declaration, as it was read."""


class Manifest(ManifestPart):
    """The whole of bundle.json. Its own sha256 is the bundle's digest; `files` holds the sha256 of every other file."""

    schema_version: Literal[1] = SCHEMA
    """Version of this format."""
    name: Name
    """What clients call the model."""
    version: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]
    """A positive whole number. The newest version has the largest."""
    description: str = ""
    """For people."""
    platform: Literal["onnx_onnxv1"] = "onnx_onnxv1"
    """Always ONNX."""
    inputs: tuple[TensorSpec, ...]
    """The graph's inputs, in order."""
    outputs: tuple[TensorSpec, ...]
    """The graph's outputs, in order."""
    entity_keys: tuple[FieldSpec, ...] = ()
    """Keys by which features are looked up. A key is never an input of the model."""
    request_fields: tuple[FieldSpec, ...] = ()
    """Columns a client sends with the request."""
    feature_service: str | None = None
    """The Feast feature service that provides the features; unset: no features are read."""
    windows: WindowSpec | None = None
    """How the windows of the feature service are counted; unset: a stream worker cannot count them."""
    event_time_field: str | None = None
    """Name of the optional input that says when the event happened (INT64 microseconds or BYTES RFC 3339, UTC)."""
    assembly: tuple[TensorAssembly, ...] = ()
    """How inputs are assembled from columns, one entry per input. Empty: the bundle accepts tensors only."""
    score: ScoreSpec | None = None
    """None: the answer has the model's outputs unchanged and no verdict."""
    operating_points: Mapping[str, OperatingPoint] = {}
    """Scenarios by name; needed with a score."""
    default_operating_point: str | None = None
    """The scenario when a request names none; needed with a score."""
    calibration: Calibration | None = None
    """Turns scores into probabilities; unset: answers have no probabilities."""
    conformal: ConformalSpec | None = None
    """Conformal sets and the verdict `unknown`; unset: there are none."""
    triage: TriageSpec | None = None
    """A cheap model that ends clear cases where a revision switches it on; unset: there is none."""
    segments: tuple[str, ...] = ()
    """Request fields by which evaluation groups its figures."""
    personal: Mapping[str, Redaction] = {}
    """Columns that say something about a person, and how the prediction log redacts them. The first one names the person."""
    allow_nonfinite: bool = False
    """Whether NaN and infinities may be sent."""
    rules: RulesSpec | None = None
    """Rules that answer if the model cannot; unset: no rules."""
    techniques: tuple[Technique, ...] = ()
    """MITRE ATT&CK techniques that the model's own alerts are about."""
    explain: ExplainSpec | None = None
    """The texts of explanations; unset: columns are shown by their names."""
    golden: Golden | None = None
    """Cases that the bundle must reproduce before it is served."""
    lineage: Lineage | None = None
    """Where the model comes from; unset for a model that was not trained by Vedette."""
    files: Mapping[str, str]
    """Path within the bundle -> sha256 of its bytes, for every file but bundle.json."""

    @model_validator(mode="after")
    def _coherent(self) -> "Manifest":
        def need(ok: bool, problem: str) -> None:
            if not ok:
                raise ValueError(problem)

        names = [t.name for t in self.inputs]
        need(len(set(names)) == len(names) > 0, "inputs must be at least one and have distinct names")
        if self.assembly:
            need([a.tensor for a in self.assembly] == names, f"assembly must name the inputs {names} in order")
        need(self.feature_service is None or bool(self.assembly), "a bundle with a feature_service needs an assembly")
        need(self.feature_service is None or bool(self.entity_keys), "a bundle with a feature_service needs entity_keys")
        if self.score is not None:
            need(self.score.output in {t.name for t in self.outputs}, f"score.output {self.score.output!r} is not an output")
            need(bool(self.operating_points), "a bundle with a score needs operating_points")
            need(
                self.default_operating_point in self.operating_points,
                f"default_operating_point {self.default_operating_point!r} is not one of {sorted(self.operating_points)}",
            )
        keys = {k.name for k in self.entity_keys}
        counted = self.windows is None or (self.windows.service == self.feature_service and {self.windows.key} == keys)
        need(counted, "windows must be of the feature_service, with its one entity key as their key")
        used = {c for a in self.assembly for c in a.columns}
        need(
            not keys & used,
            f"entity keys {sorted(keys & used)} are inputs of the model; a key names the entity and must not be a feature",
        )
        fields = {f.name for f in self.request_fields}
        has_rules = any(path.startswith("rules/") for path in self.files)
        need(has_rules == (self.rules is not None), "a bundle has both files under rules/ and the field `rules`, or neither")
        unknown = sorted(self.personal.keys() - keys - fields - used)
        need(not unknown, f"personal names {unknown}, which are not entity keys, request fields or features")
        unnamed = sorted(self.explain.reasons.keys() - used) if self.explain is not None and self.assembly else []
        need(not unnamed, f"explain.reasons names {unnamed}, which are not columns of the assembly")
        if self.conformal is not None:
            need(self.score is not None, "conformal sets are computed from scores, so a bundle with them needs a score")
            group = self.conformal.group
            need(group is None or group in fields, f"conformal.group {group!r} is not a request field")
            need(bool(group) or not self.conformal.groups, "conformal.groups need conformal.group, the field that names them")
        if self.triage is not None:
            need(self.score is not None, "triage ends rows that have a verdict, so a bundle with triage needs a score")
            need(self.golden is not None, "a bundle with triage needs golden cases")
            missing = sorted({TRIAGE_MODEL, TRIAGE_GOLDEN} - self.files.keys())
            need(not missing, f"a bundle with triage lists {missing} among its files")
        if self.rules is not None:
            need(self.score is not None, "rules give verdicts, so a bundle with rules needs a score")
            event = self.rules.event_field
            need(
                event is None or any(f.name == event and f.datatype == "BYTES" for f in self.request_fields),
                f"rules.event_field {event!r} is not a request field of datatype BYTES",
            )
        own = fields | set(self.rule_columns)
        if self.feature_service is None:
            need(used <= own, f"assembly uses columns {sorted(used - own)} that are not request_fields")
        need(not fields & set(RULE_COLUMNS), f"{list(RULE_COLUMNS)} are made by rules; no request field has these names")
        return self

    @property
    def rule_columns(self) -> tuple[str, ...]:
        """Columns of the model that its rules make."""
        return RULE_COLUMNS if self.rules is not None and self.rules.use in ("feature", "member") else ()
