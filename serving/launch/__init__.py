"""Ways to start: the replicas of `vedette up` on this machine, one pod."""
