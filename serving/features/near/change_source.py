"""What a store must report so that its rows may be kept in memory."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ChangeSource(Protocol):
    """Tells a NearCache of every change of what a store holds."""

    def for_keeping(self, prepared: Any) -> Any:
        """What the store prepared, as `fetch` takes it for rows that are kept: they come with what is needed to know when they end."""
        ...

    def is_following(self) -> bool:
        """Whether the store reports changes now. If not, nothing is kept."""
        ...

    def is_current(self, now_s: float) -> bool:
        """Whether the store has reported every change until a stated bound before now_s, monotonic seconds."""
        ...

    def is_telling(self) -> bool:
        """Whether changes were told when this was last looked at: for the metric, which may ask in a thread."""
        ...

    def lag_s(self) -> float:
        """How much later than the store a change is here at most; 0 where that is not known. For the metric too."""
        ...
