"""Parts of pages that are computed from measured figures."""
