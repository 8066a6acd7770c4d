"""Labels of analysts as evidence of rollouts: from the store of this machine, or from a label server."""
