"""The shell: the Ray Serve replica, what it is told to serve, one pod, this machine."""
