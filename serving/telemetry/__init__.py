"""Traces, metrics and logs of the data plane."""
