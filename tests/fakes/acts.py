"""A log of governed acts in memory. It keeps what it was told, in order, or refuses as a full disk does."""


class MemoryActs:
    def __init__(self):
        self.acts, self.is_full = [], False

    def record(self, act):
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.acts.append(act)
        return f"checkpoint {len(self.acts)}"

    def told(self):
        return [(a.action, a.outcome) for a in self.acts]
