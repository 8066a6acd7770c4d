"""`vedette scale`."""
