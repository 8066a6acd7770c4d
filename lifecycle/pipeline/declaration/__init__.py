"""What a `dvc.yaml` says: its YAML, templates, parameters and stages, and the graph of them."""
