"""The triage pre-filter: a cheap model ends clear cases, the others go to the bundle's model."""
