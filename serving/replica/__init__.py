"""The shell of the data plane: the Ray Serve replica, and its inference service."""
