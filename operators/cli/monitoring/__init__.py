"""The verbs that watch a model: `vedette monitor`, which goes on, and what it knows."""
