"""How many examples a law is judged on, by the profile that HYPOTHESIS_PROFILE names.

- dev: a quarter of them, while you write; what `make test-unit` and a bare `pytest` do
- ci: all of them, and a share of those of long laws; what `make test` does
- soak: all of them of the long laws too; what `make soak` does

Laws are judged, not the speed of a busy machine: none has a deadline."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

QUARTER: Final = 4
SHARE: Final = 8
"""Of a long law, `make test` judges one example in so many."""
USUAL: Final = {"dev": 100 // QUARTER, "ci": 100, "soak": 100}

for _name, _examples in USUAL.items():
    settings.register_profile(_name, deadline=None, max_examples=_examples, suppress_health_check=[HealthCheck.too_slow])


def load_profile(name: str) -> None:
    """Choose, before a test module is imported."""
    settings.load_profile(name)


def count(examples: int) -> int:
    """Of so many examples, how many are judged in this run."""
    return max(10, examples // QUARTER) if settings.get_current_profile_name() == "dev" else examples


def share(examples: int, few: int) -> int:
    """How many examples a law is judged on that takes seconds for each: all of them in `make soak`, else a few."""
    return examples if settings.get_current_profile_name() == "soak" else few


def examples(most: int, **more: Any) -> settings:
    """A law with a number of examples of its own. more: other settings of hypothesis."""
    return settings(max_examples=count(most), **more)


def long(most: int) -> Callable[[Any], Any]:
    """A law that takes long: marked `law`, judged on all its examples in `make soak`."""
    is_soak = settings.get_current_profile_name() == "soak"

    def decorate(test: Any) -> Any:
        return pytest.mark.law(settings(max_examples=most if is_soak else max(10, count(most) // SHARE))(test))

    return decorate
