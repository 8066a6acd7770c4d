"""Figures and tests of two samples: how far apart their distributions are, and whether that is more than chance. Pure; numpy and scipy.

A p-value here is valid for rows that are independent draws. lifecycle.monitoring.drift also asks how large the difference is."""
