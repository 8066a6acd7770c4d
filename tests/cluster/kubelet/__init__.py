"""A kubelet for tests: runs the pods of an API server as processes of this machine, in namespaces of their own. Linux, as root.

What is real: nodes and their leases, init containers, probes, restarts, graceful deletion, volumes, tokens, environments, users, read-only
file systems, pod addresses, Services with a cluster's names, the status that controllers read. Memory is
limited, processor time is not. What is not real: images. An image is the checkout, laid out as its Dockerfile says, on this machine's
`/usr`. Network policies are not enforced.

`python -m tests.cluster.kubelet` is the process; `tests.cluster.pods` starts it beside a real control plane."""
