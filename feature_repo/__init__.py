"""The Feast repository: entities, sources, views, services. Imports none of the planes."""
