"""Windows of an entity's events by their definition, vectorised: what training stores, batch scoring reads and streams must reproduce."""
