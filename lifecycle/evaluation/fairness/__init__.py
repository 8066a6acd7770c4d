"""Whether a model treats some segments (business units, sites, user groups) differently from the rest, and how sure that is."""
