"""Segments of entities (business unit, site, user group): a mapping kept beside the models, never an input of one."""
