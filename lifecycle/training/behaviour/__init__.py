"""Models of behaviour: what an entity does in a window of time, and how unusual that is. Unsupervised: labels only evaluate them."""
