"""Who a signed-in person is, and what their roles let them do in the console. Values only.

A role of the access policy that is named `console-viewer`, `console-analyst`, `console-sre` or `console-approver` gives its holders that
role of the console."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from serving.access.policy import ANY, Globs

PREFIX: Final = "console-"
NO_ENTITIES: Final = Globs(())


class ConsoleRole(StrEnum):
    """What a person may do. Each role includes looking at every page."""

    VIEWER = "viewer"
    """Looks."""
    ANALYST = "analyst"
    """Gives labels."""
    SRE = "sre"
    """Moves rollouts: promote, pause, resume, abort, retry, undo."""
    APPROVER = "approver"
    """Approves and rejects at approval steps."""


ALL_ROLES: Final = frozenset(ConsoleRole)


@dataclass(frozen=True, slots=True)
class SignedInPerson:
    """A person with a session. name: under which their acts are recorded. how: `link`, `key` or `token`.

    tenant: whose records they may see; empty: everybody's. entities: of which entities a tenant's person may see the risk. models: of which
    models they may see records."""

    name: str
    roles: frozenset[ConsoleRole]
    how: str = "link"
    tenant: str = ""
    entities: Globs = NO_ENTITIES
    models: Globs = ANY

    @property
    def is_narrowed(self) -> bool:
        """Whether they may see some models only."""
        return "*" not in self.models.patterns

    @property
    def sees_all(self) -> bool:
        """Whether they may see what speaks of all tenants and all models."""
        return not self.tenant and not self.is_narrowed

    def may(self, role: ConsoleRole) -> bool:
        """Whether a page or an act that needs this role is theirs. Everybody who has a role may look."""
        return role in self.roles or (role is ConsoleRole.VIEWER and bool(self.roles))


def roles_in(policy_roles: frozenset[str]) -> frozenset[ConsoleRole]:
    """The console's roles among those of an access policy."""
    return frozenset(role for role in ConsoleRole if PREFIX + role in policy_roles)
