"""Signatures of bundles: the form, the keys, and whom a replica trusts. Storing them is serving.models.store's."""
