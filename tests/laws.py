"""How many examples a law is judged on, by the profile that HYPOTHESIS_PROFILE names.

- dev: an eighth of them, while you write; what `make test-unit` and a bare `pytest` do
- ci: a quarter of them; what `make test` does. Examples are drawn anew in each run, so runs see others
- soak: all of them; what `make soak` does

Of the laws that `long` marks, the first two judge an eighth of that. No law has fewer than ten. Every law has the marker `law`
(tests/conftest.py), by which `make soak` finds it. Laws are judged, not the speed of a busy machine: none has a deadline."""

from collections.abc import Callable
from typing import Any, Final

from hypothesis import HealthCheck, settings

PARTS: Final = {"dev": 8, "ci": 4, "soak": 1}
"""By profile: one example in so many is judged."""
LONG: Final = 8
"""Of a long law, one in so many of these, but in `make soak`."""
FEWEST: Final = 10
USUAL: Final = 100

for _name, _parts in PARTS.items():
    settings.register_profile(_name, deadline=None, max_examples=USUAL // _parts, suppress_health_check=[HealthCheck.too_slow])


def load_profile(name: str) -> None:
    """Choose, before a test module is imported."""
    settings.load_profile(name)


def is_whole() -> bool:
    """Whether this run judges all examples."""
    return settings.get_current_profile_name() == "soak"


def count(examples: int) -> int:
    """Of so many examples, how many are judged in this run."""
    return min(examples, max(FEWEST, examples // PARTS[settings.get_current_profile_name()]))


def share(examples: int, few: int) -> int:
    """How many examples a law is judged on that takes seconds for each: all of them in `make soak`, else a few."""
    return examples if is_whole() else few


def examples(most: int, **more: Any) -> settings:
    """A law with a number of examples of its own. more: other settings of hypothesis."""
    return settings(max_examples=count(most), **more)


def long(most: int) -> Callable[[Any], Any]:
    """A law that takes long."""
    return settings(max_examples=most if is_whole() else max(FEWEST, count(most) // LONG))


def is_law(test: object) -> bool:
    """Whether a test function is a law of hypothesis or of a state machine of its."""
    return bool(getattr(test, "is_hypothesis_test", False))
