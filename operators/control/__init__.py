"""The control plane as people reach it: services, their status and the verbs said to them, in a folder here or in a cluster.

`Control` is the port; `folder` and `cluster` implement it. The loop of this machine is `loop`; what it decides is
operators.rollout's, where it acts operators.backends.local's."""
