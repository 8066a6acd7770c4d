"""FEATURES: the Feast repository. It says which features exist, where they are kept and how old they may get.

Imports none of the planes. `declaration`, `flows`, `transforms` and `quick_feast` can be imported without Feast; the other modules
define Feast objects."""
