"""Settings of the monitor: its level, its sizes, and the smallest change that matters. Pure."""

from dataclasses import dataclass

from lifecycle.monitoring.sequential.betting import Schedule


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Settings of a watch. Raises ValueError for a value that makes no sense."""

    alpha: float = 0.05
    """Chance of ever raising an alarm about a revision while nothing changes, over all columns and segments together."""
    run_length: int | None = None
    """If set, in place of alpha: expected number of blocks until a false alarm. For a watch that is to forget an old change."""
    block_rows: int = 25
    """Rows of one block, which is one look at the evidence."""
    baseline_rows: int | None = None
    """If set, the reference is the first rows that a revision answers, not its training rows."""
    segment_column: str | None = None
    """Column whose values are segments. Each is compared with its own first SEGMENT_BASELINE_ROWS rows."""
    most_segments: int = 50
    """Segments that are watched; those that appear later are counted only."""
    memory_rows: int = 500
    """How far back the size of a change is measured, in rows."""
    least_rows: int = 100
    """Rows since the change began from which on its size counts."""
    minor_psi: float = 0.1
    minor_gap: float = 0.1
    major_psi: float = 0.25
    major_gap: float = 0.2
    """A gap is the largest difference of the distribution functions, or for text the total variation."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}, expected a probability between 0 and 1, e.g. 0.05")
        for name in ("block_rows", "memory_rows", "least_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not (0 < self.minor_psi <= self.major_psi and 0 < self.minor_gap <= self.major_gap):
            raise ValueError("the size of a minor change must be above 0 and at most that of a major one")
        if self.run_length is not None and self.run_length < 2:
            raise ValueError(f"run_length is {self.run_length}, expected 2 blocks or more, e.g. 100000")

    @property
    def schedule(self) -> Schedule:
        """How the capital is put in."""
        return "level" if self.run_length is None else "run_length"

    @property
    def method(self) -> str:
        """What the evidence so far depends on; with another method it begins anew."""
        return f"{self.schedule}, {self.block_rows} rows a block, baseline {self.baseline_rows}, segments {self.segment_column}"

    @property
    def level(self) -> float:
        """What the rejection is asked at."""
        return self.alpha if self.run_length is None else 1 / self.run_length


SEGMENT_BASELINE_ROWS = 500
"""Rows of a segment that are taken as its reference before it is watched."""
