"""The datatypes that a detector's declared columns have in requests and in the feature store."""

from typing import Final

from lifecycle.datasets.detector import Detector

DATATYPES: Final = {"string": "BYTES", "float": "FP64", "int": "INT64", "port": "INT64", "bool": "BOOL"}
"""A declared column's type -> the datatype it has in requests and in the store."""


def request_types(detector: Detector) -> dict[str, str]:
    """The datatypes of the request's fields."""
    return {name: DATATYPES[detector.source.columns[name].type] for name in detector.request_fields}
