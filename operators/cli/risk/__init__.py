"""`vedette risk`: the risk of entities, its parts, and how the parts are weighed."""
