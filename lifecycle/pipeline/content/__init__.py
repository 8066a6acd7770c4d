"""The bytes of files: digests as DVC makes them, `dvc.lock`, and the cache of outputs."""
