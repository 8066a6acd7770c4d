"""How good a model is, in the units of a SOC."""
