"""A simulated year of one model: events that change on known days, analysts who answer late, detectors and strategies that have to cope."""
