"""Entry points: the replicas of `vedette up` on this machine, and one pod."""
