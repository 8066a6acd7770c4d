"""Addresses of stores as messages and logs may show them."""

import re


def without_login(url: str) -> str:
    """The address with `***` in place of user and password; everything up to the last `@` may be part of a password."""
    return re.sub(r"//.*@", "//***@", url)
