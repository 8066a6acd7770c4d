"""A whole cluster on this machine: the control plane of Kubernetes, KubeRay's operator, and nodes whose pods run."""
