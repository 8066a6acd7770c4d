"""Adapters of the control plane: where it acts and what it observes."""
