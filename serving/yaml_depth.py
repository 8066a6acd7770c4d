"""A bound on how deep a YAML text is nested, for readers that use libyaml: it calls itself for each level, and a text that is nested
without end would end the process."""

from typing import Final

import yaml

MOST_DEPTH: Final = 100
"""Levels of lists and mappings. Files that people write have about ten."""


def check_depth(text: str | bytes) -> None:
    """Raises yaml.YAMLError if the text is nested deeper than MOST_DEPTH, or is not YAML. Reads events only, which needs no recursion."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                raise yaml.YAMLError(f"it is nested deeper than {MOST_DEPTH} levels{event.start_mark}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
