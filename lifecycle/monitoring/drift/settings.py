"""Settings of drift: the smallest change that matters, the fewest rows to judge, and how often a report may be wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

DriftSeverity = Literal["none", "trace", "minor", "major"]
"""none: no more than chance. trace: more than chance, too small to matter. minor, major: findings."""
Family = Literal["column", "together", "prediction", "concept", "segment"]

LEVELS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "psi": (0.1, 0.25),
        "ks": (0.1, 0.2),
        "wasserstein": (0.1, 0.5),
        "total_variation": (0.1, 0.2),
        "tail_excess": (0.005, 0.02),
        "missing": (0.02, 0.1),
        "correlation": (0.1, 0.3),
        "auc": (0.6, 0.75),
        "mmd": (0.1, 0.3),
        "attack_share": (0.03, 0.1),
        "coverage": (0.02, 0.05),
    }
)
"""Effect -> from where on it is minor, and major. auc: as it is; the others are distances, 0 means no change."""
_SHARES: Final[Mapping[Family, float]] = MappingProxyType(
    {"column": 6.0, "together": 2.0, "prediction": 2.0, "concept": 2.0, "segment": 2.0}
)


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """level: how often a report on unchanged data may have any finding. shares: how the level is divided between the families of checks."""

    level: float = 0.05
    least_rows: int = 200
    """Rows that each sample needs for a column, a score or a segment to be judged."""
    least_rows_together: int = 500
    """The same for the checks of all columns together."""
    least_labels: int = 50
    """Labels that each sample needs for concept drift and coverage to be judged."""
    most_rows_classifier: int = 5_000
    """Rows of each sample that the domain classifier sees."""
    most_rows_mmd: int = 2_000
    """Rows of each sample that MMD sees."""
    most_segments: int = 12
    """Segments that are judged, the largest first."""
    levels: Mapping[str, tuple[float, float]] = field(default_factory=lambda: LEVELS)
    shares: Mapping[Family, float] = field(default_factory=lambda: _SHARES)


DEFAULTS: Final = DriftSettings()
