"""One look at one service: what it reads, writes and does."""
