"""Figures about alerts and scores. Pure numpy: arrays in, figures out; every one is undefined (None) rather than 0 where it has
nothing to count, and equals scikit-learn's on the same arrays (tests/unit/lifecycle/metrics)."""

from lifecycle.metrics.intervals import Interval, wilson
from lifecycle.metrics.ranking import ranking
from lifecycle.metrics.rates import Rates, rates

__all__ = ["Interval", "Rates", "ranking", "rates", "wilson"]
