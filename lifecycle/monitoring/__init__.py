"""Whether a model still fits its data and keeps its figures: drift, alarms, and the monitor that looks for them."""
