"""The target of a figure, and whether it is met. Pure.

A target is a bound on the ratio to another figure of the same rounds (`<= 1.2x`), or on the figure itself (`< 10 ms`)."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_MEETS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Target:
    """A bound. of_ratio: on the ratio; else on the value, in the figure's own unit."""

    sign: str
    bound: float
    of_ratio: bool

    def __post_init__(self) -> None:
        if self.sign not in _MEETS:
            raise ValueError(f"a target's sign is one of {sorted(_MEETS)}, not {self.sign!r}")

    def is_met(self, value: float, ratio: float | None) -> bool:
        """Whether a figure meets it. Without a ratio, a target on the ratio is not met."""
        seen = ratio if self.of_ratio else value
        return seen is not None and _MEETS[self.sign](seen, self.bound)

    def words(self, unit: str) -> str:
        """The target as text.

        >>> Target("<=", 1.2, of_ratio=True).words("ms"), Target("<", 10, of_ratio=False).words("ms")
        ('<= 1.2x', '< 10 ms')
        """
        return f"{self.sign} {self.bound:g}{'x' if self.of_ratio else f' {unit}'}"


def ratio(sign: str, bound: float) -> Target:
    """A bound on the ratio."""
    return Target(sign, bound, of_ratio=True)


def value(sign: str, bound: float) -> Target:
    """A bound on the figure itself."""
    return Target(sign, bound, of_ratio=False)
