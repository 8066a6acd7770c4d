"""Dashboards of Grafana as values: one file for each. Pure."""
