"""The pipeline of a project: stages in a `dvc.yaml`, run again only where something they are made of changed.

declaration/ reads the file, content/ knows the bytes of files (digests, `dvc.lock`, the cache), running/ runs stages. changes.py decides
what changed (pure). Files, digests and cache have DVC's form, so that DVC and Vedette may be used on the same project."""
