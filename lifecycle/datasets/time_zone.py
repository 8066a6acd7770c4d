"""The name of a time zone, as declarations and policies have it."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator


def _known(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as problem:
        raise ValueError(f"{name!r} is not a time zone; write e.g. UTC or Europe/Prague") from problem
    return name


TimeZone = Annotated[str, AfterValidator(_known)]
"""A zone of the IANA data base that this machine has."""
