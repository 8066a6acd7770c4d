"""A simulated year of one model: events that change on known days, analysts who answer late, and the detectors and strategies that are
compared."""
