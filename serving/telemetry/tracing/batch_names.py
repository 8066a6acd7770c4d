"""Names of the spans of batch jobs, and of their own attributes. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

BATCH: Final = "batch"
UNIT: Final = "unit"

BATCH_SPANS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        BATCH: (
            "internal",
            "A batch job. The coin is tossed once, for the job; its workers go on with its trace, on a Ray cluster as here.",
        ),
        UNIT: ("internal", "One unit of a job: read, scored, committed. Its requests are `infer` spans within it."),
    }
)

UNIT_NAME: Final = "vedette.batch.unit"
UNITS: Final = "vedette.batch.units"

BATCH_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        UNIT_NAME: "Name of the unit, as in the output's folder.",
        UNITS: "Units that this run scored.",
    }
)
