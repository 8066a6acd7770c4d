"""Simulators, forecasts and models to play with: evidence about the control plane, no part of it."""
