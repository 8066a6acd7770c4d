"""Why there is no plan."""


class CapacityError(ValueError):
    """A demand, a file of figures or a file of assumptions that no plan can be made of; the message says what, where, and the way out."""
