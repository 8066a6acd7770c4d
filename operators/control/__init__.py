"""The control plane as people reach it: services, their status and the verbs said to them, in a folder here or in a cluster.

`Control` is the port; `folder` and `cluster` implement it. The loop of this machine is `loop`; operators.rollout decides,
operators.backends.local acts."""
