"""The tenants and models whose records a person may see. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class LogScope:
    """tenants: whose records; None: everybody's. may_see_model: of which models. may_see_entity: of which entities."""

    tenants: frozenset[str] | None = None
    may_see_model: Callable[[str], bool] | None = None
    may_see_entity: Callable[[str], bool] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything may be seen. Acts and labels have no tenant: they are shown to nobody else."""
        return self.tenants is None and self.may_see_model is None

    def sees(self, model: str, tenant: str) -> bool:
        """Whether a record of this model and tenant may be seen."""
        is_theirs = self.tenants is None or tenant in self.tenants
        return is_theirs and (self.may_see_model is None or self.may_see_model(model))

    def sees_entity(self, entity: str) -> bool:
        """Whether the risk of this entity may be seen."""
        return self.may_see_entity is None or self.may_see_entity(entity)

    def condition(self, models: Sequence[str]) -> "SqlCondition":
        """The same in SQL over the columns `model` and `tenant`. models: those that there are."""
        found = ALL
        if self.tenants is not None:
            found = found.also(_among("tenant", sorted(self.tenants)))
        if self.may_see_model is not None:
            found = found.also(_among("model", [model for model in models if self.may_see_model(model)]))
        return found


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """A condition, and the values of its question marks."""

    sql: str
    values: tuple[object, ...] = ()

    def also(self, other: "SqlCondition") -> "SqlCondition":
        """Both must hold."""
        if self == ALL:
            return other
        return SqlCondition(f"{self.sql} AND {other.sql}", (*self.values, *other.values))


ALL: Final = SqlCondition("1")


def _among(column: str, values: Sequence[str]) -> SqlCondition:
    return SqlCondition(f"{column} IN ({', '.join('?' * len(values))})", tuple(values)) if values else SqlCondition("0")
