"""The registry: where bundles come from, by digest; their stages and aliases, with who, when and why; their signatures.

serving.models.store holds the bundles on a replica's own disk. The control plane decides which bundle is rolled out."""
