"""How many examples a law is judged on: a share in `make test`, all of them in `make soak`.

HYPOTHESIS_PROFILE chooses the profile, `ci` or `soak`. Laws are judged, not the speed of a busy machine: neither has a deadline."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

SHARE: Final = 8
"""Of a long law, `make test` judges one example in so many."""

for _name in ("ci", "soak"):
    settings.register_profile(_name, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def load_profile(name: str) -> None:
    """Choose, before a test module is imported."""
    settings.load_profile(name)


def share(examples: int, few: int) -> int:
    """How many examples a law is judged on that takes seconds for each: all of them in `make soak`, else a few."""
    return examples if settings.get_current_profile_name() == "soak" else few


def long(examples: int) -> Callable[[Any], Any]:
    """A law that takes long: marked `law`, judged on all its examples in `make soak`."""
    is_soak = settings.get_current_profile_name() == "soak"

    def decorate(test: Any) -> Any:
        return pytest.mark.law(settings(max_examples=examples if is_soak else max(10, examples // SHARE))(test))

    return decorate
