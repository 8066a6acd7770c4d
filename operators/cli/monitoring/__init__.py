"""The verbs that watch a model: `vedette monitor`, which runs until a signal, and `vedette monitor show`."""
