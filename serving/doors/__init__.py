"""The doors: request bytes in, response bytes out. Behind them they use only serving.ports."""
