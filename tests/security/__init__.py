"""Checks of the code and its dependencies by the tools of their trade; a part of `make check`."""
