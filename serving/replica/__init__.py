"""The shell of the data plane: the Ray Serve replica, its inference service, and served.json."""
