"""The registry: where bundles come from, by digest; stages and aliases with who, when and why; signatures beside them.

What a replica has on its own disk is serving.models.store's; which bundle is rolled out is the control plane's."""
