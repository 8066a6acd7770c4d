"""Alerts, and transports that do as they are told."""
