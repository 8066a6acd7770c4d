"""The command line that all servers under test share."""

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arguments:
    """What to serve and where to listen."""

    model: Path
    http_port: int
    grpc_port: int


def parse() -> Arguments:
    """Parse the command line. Unknown options are left to the server's own libraries."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    found, _ = parser.parse_known_args()
    return Arguments(found.model.resolve(), found.http_port, found.grpc_port)
