"""FEATURES: the Feast repository. Says what features exist, where they are kept and how old they may get.

Imports none of the planes. `declaration`, `flows` and `transforms` need no Feast; the other modules are Feast definitions."""
