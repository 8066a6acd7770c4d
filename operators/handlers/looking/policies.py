"""RolloutPolicies: which services follow each one, and whether it can be followed. Writes their status; rollouts are
operators.handlers.looking.look's."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from operators.api.read import ApiError, read_policy
from operators.backends.kube import Conflict, KubeError, NotFound
from operators.handlers.documents import Key, ResourceDocument
from operators.handlers.looking.record import Recorder
from operators.handlers.watching.resource_cache import ResourceCache
from operators.handlers.watching.work_queue import TryLater


class PolicyLooker:
    """Looks at policies. leads: asked before each write."""

    def __init__(
        self,
        recorder: Recorder,
        cache: ResourceCache,
        *,
        leads: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._recorder, self._cache, self._leads, self._now = recorder, cache, leads, now

    async def look(self, key: Key) -> float | None:
        """Write the status of one if it changed. Raises TryLater."""
        document = self._cache.policy(key)
        if document is None or not self._leads():
            return None
        before = document.get("status") or {}
        after = policy_status(document, sum(1 for _ in self._cache.following(key)), self._now())
        if after == before:
            return None
        try:
            self._cache.put_policy(await self._recorder.policy_status(document, after))
        except NotFound:
            return None
        except Conflict:
            return 1.0  # the watch brings the newer one
        except KubeError as problem:
            raise TryLater(str(problem)) from problem
        return None


def policy_status(document: ResourceDocument, services: int, now: datetime) -> dict[str, Any]:
    """What the status should be; times are kept where nothing changed."""
    try:
        read_policy(document)
        valid, reason, message = "True", "Accepted", "services can follow it"
    except ApiError as problem:
        valid, reason, message = (
            "False",
            "Refused",
            f"{problem}; rollouts that are under way keep the form of the policy that they began with",
        )
    generation = int(document["metadata"].get("generation") or 0)
    conditions = (document.get("status") or {}).get("conditions") or []
    before = next((c for c in conditions if c.get("type") == "Valid"), None)
    since = before["lastTransitionTime"] if before and before.get("status") == valid else now.strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "Valid",
        "status": valid,
        "reason": reason,
        "message": message[:2000],
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }
    return {"observedGeneration": generation, "services": services, "conditions": [condition]}
