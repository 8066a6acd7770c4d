"""The cheap model of a triage: few small trees on the same columns, whatever the detector's model is."""

from typing import Any, Final

import numpy as np

from lifecycle.arrays import Floats, Mask
from lifecycle.datasets.detector import ModelSpec, TriageDeclaration
from lifecycle.training.fit import Fitted, fit
from lifecycle.training.triage.bound import ChosenBound

LEARNING_RATE: Final = 0.3
"""Of few trees each must say much."""


def fit_cheap(
    spec: ModelSpec,
    declared: TriageDeclaration,
    matrix: Any,
    attack: Mask,
    kind: Any,
    seed: int,
    given: Floats | None,
) -> Fitted:
    """Fit it on these rows, balanced as the detector's model is. Raises DetectorError."""
    parameters = {**spec.parameters, "num_leaves": declared.leaves, "learning_rate": LEARNING_RATE}
    changes = {"trees": declared.trees, "parameters": parameters, "members": 1, "ensemble": None, "family_trees": 0}
    return fit(spec.model_copy(update=changes), matrix, attack, kind, seed, given=given)


def triage_part(declared: TriageDeclaration, chosen: ChosenBound) -> dict[str, Any]:
    """The field `triage` of the bundle's manifest."""
    return {
        "output": "margin",
        "bound": float(np.float32(chosen.bound)),
        "ended": chosen.ended,
        "losses": {
            "attacks": chosen.attacks,
            "lost": chosen.lost,
            "required": declared.lost_attacks,
            "upper": chosen.upper,
            "confidence": declared.confidence,
        },
    }
