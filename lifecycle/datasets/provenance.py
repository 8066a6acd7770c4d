"""Where training data comes from: source, collection, cleaning, labels, findings. Declared in the detector file, carried in the bundle.

Nothing is computed from it; it is what an auditor reads, and what a lineage event says about the data (lifecycle.governance.lineage)."""

from datetime import date

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Collection(_Part):
    """How the rows were recorded."""

    by: str
    """Who recorded them: an organisation, a sensor, a program."""
    how: str
    """With what, and where in the network."""
    first: date | None = None
    """First day of the recording."""
    last: date | None = None
    """Last day of the recording."""


class LabelSource(_Part):
    """Who or what labelled some of the rows, and how."""

    rows: str
    """Which rows, in words or as a condition on columns."""
    by: str
    """Who: a person's role, an organisation, a program."""
    how: str
    """By which procedure."""


class Provenance(_Part):
    """The origin of the training data, in the terms of "Datasheets for Datasets" (Gebru et al., 2021)."""

    source: str
    """Where the data can be had: a publication, a DOI, a URL, a table."""
    license: str = ""
    """The terms of its use."""
    collection: Collection | None = None
    """How the rows were recorded."""
    cleaning: tuple[str, ...] = ()
    """What was done to the rows before training, one step a line."""
    labels: tuple[LabelSource, ...] = ()
    """Who or what labelled which rows, and how."""
    findings: tuple[str, ...] = ()
    """What is known to be wrong or missing in the data."""
