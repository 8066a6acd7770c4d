"""`make load`: one shape against a server, judged. Prints pass or fail of each objective, writes a page; the exit status is the verdict.

    python -m loadtests.run --shape spike                                     # a server of its own on this machine
    python -m loadtests.run --shape steps --users 64 --host https://vedette.example --ca ca.pem --token-file token

Kafka's user takes part where there is a broker: Kafka's jars on this machine, or VEDETTE_STREAM_SERVERS with `--host`.

0: every objective is met. 1: one is not. 2: the test could not be carried out."""

import argparse
import ssl
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from loadtests import verdict
from loadtests.bench.errors import BenchError
from loadtests.bench.process import end_in_order
from loadtests.local_servers import LoadTarget, local_target, log_of, run_users
from loadtests.objectives import SHIPPED, ObjectivesError, asked, not_asked, of_shape, read_objectives
from loadtests.settings import LoadSettings
from loadtests.shapes import SHAPES, shape_of
from operators.control.local_kafka import LocalKafka, LocalKafkaError
from serving.access.client_credentials import DoorCredentials
from serving.stream.settings import StreamSettings

DOORS: Final = {"http": "HttpDoor", "grpc": "GrpcDoor", "kafka": "KafkaDoor"}
OUT: Final = Path("build/load")
PACE_S: Final = 0.1
"""How long a user waits, unless VEDETTE_LOAD_WAIT_S says so: without a pause, users measure the machine's speed only."""
_GRACE_S: Final = 60.0
_SHOWN: Final = {"token_file": "VEDETTE_TOKEN_FILE", "api_key_file": "VEDETTE_API_KEY_FILE"}  # nosec B105  # names of variables, no secret
_TLS: Final = {"ca": "VEDETTE_LOAD_CA", "cert": "VEDETTE_LOAD_CERT", "key": "VEDETTE_LOAD_KEY"}


def main(words: list[str] | None = None) -> int:
    """Carry one test out."""
    given = _parser().parse_args(words)
    end_in_order()
    try:
        return _run(given)
    except (BenchError, LocalKafkaError, ObjectivesError, ValueError, OSError) as problem:
        print(f"the load test could not be carried out: {problem}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make load",
        description="One shape of load against a server, judged by objectives.",
        allow_abbrev=False,  # `--token SECRET` is refused, and not taken for the name of a file
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="spike")
    parser.add_argument("--users", type=int, help="users at the peak (default: the shape's own)")
    parser.add_argument("--seconds", type=float, help="length (default: the shape's own)")
    parser.add_argument("--host", help="URL of the HTTP door (default: a server of its own on this machine)")
    parser.add_argument("--grpc", help="address of the gRPC door (default: VEDETTE_LOAD_GRPC, or port 8081 of the host)")
    parser.add_argument(
        "--model", help="the model that is asked, or several with commas (default: VEDETTE_LOAD_MODEL, or flows)"
    )
    parser.add_argument("--doors", help=f"some of {','.join(DOORS)} (default: all that are there)")
    parser.add_argument("--objectives", type=Path, help="YAML file of objectives (default: loadtests/objectives.yaml)")
    guarded = parser.add_argument_group("guarded doors", "With --host. Options name files: everybody may read a command line.")
    secret = guarded.add_mutually_exclusive_group()
    secret.add_argument("--token-file", type=Path, help="a bearer token; read again every 30 s, so that it may be renewed")
    secret.add_argument("--api-key-file", type=Path, help="an API key")
    guarded.add_argument(
        "--ca", type=Path, help="PEM: who signed the doors' certificates (default: VEDETTE_LOAD_CA, or the system's)"
    )
    guarded.add_argument("--cert", type=Path, help="PEM: a client certificate")
    guarded.add_argument("--key", type=Path, help="PEM: its private key (default: in the same file)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser


def _run(given: argparse.Namespace) -> int:
    settings = LoadSettings() if given.model is None else LoadSettings(model=given.model)
    shape = shape_of(given.shape, users=given.users, seconds=given.seconds)
    objectives = given.objectives or settings.objectives or SHIPPED
    limits = of_shape(read_objectives(objectives), given.shape)  # before anything is started
    doors = (
        _doors(given.doors) if given.doors is not None else [*("http", "grpc"), *(["kafka"] if _has_broker(given.host) else [])]
    )
    guarded = for_guarded_doors(given)
    if left_out := not_asked(limits, asked(limits, doors, settings.models)):
        print(f"not judged, because this run does not ask it: {', '.join(left_out)}", file=sys.stderr)
    OUT.mkdir(parents=True, exist_ok=True)
    page, findings = OUT / f"{given.shape}.html", OUT / f"{given.shape}.json"
    for old in (page, findings):
        old.unlink(missing_ok=True)
    environment: dict[str, str | None] = {
        "VEDETTE_LOAD_SHAPE": given.shape,
        "VEDETTE_LOAD_MODEL": settings.model,
        "VEDETTE_LOAD_USERS": str(shape.peak),
        "VEDETTE_LOAD_SECONDS": str(shape.seconds),
        "VEDETTE_LOAD_OBJECTIVES": str(objectives),
        "VEDETTE_LOAD_FINDINGS": str(findings),
        **({} if "wait_s" in settings.model_fields_set else {"VEDETTE_LOAD_WAIT_S": str(PACE_S)}),
        **guarded,
    }
    with _target(given, settings, doors) as target:
        print(
            f"{given.shape}: {shape.peak} users at the peak, {shape.seconds:g} s, {', '.join(doors)} of {target.host}",
            file=sys.stderr,
        )
        status, said = run_users(
            [DOORS[d] for d in doors], target, page, environment, shape.seconds + settings.verdict_s + _GRACE_S
        )
    if not findings.is_file():
        raise BenchError(
            f"the users ended with status {status} without findings; their log is {log_of('load-users')}:\n{said[-600:]}"
        )
    found = verdict.from_json(findings.read_text(encoding="utf-8"))
    if page.is_file():
        page.write_text(verdict.with_verdict(page.read_text(encoding="utf-8"), given.shape, found), encoding="utf-8")
    if given.json:
        print(orjson.dumps(verdict.as_json(found)).decode())
    else:
        print(verdict.table(found))
        print(f"\n{'passed' if verdict.passed(found) else 'NOT passed'}; the page of the run is {page}")
    return 0 if verdict.passed(found) else 1


def for_guarded_doors(given: argparse.Namespace) -> Mapping[str, str | None]:
    """Settings of the users for what they show to guarded doors; None takes a variable away. The files are read once, so that what is wrong
    with them is said before anything starts. Raises ValueError, OSError."""
    named = {name: getattr(given, name) for name in (*_SHOWN, *_TLS) if getattr(given, name) is not None}
    first = next((f"--{name.replace('_', '-')}" for name in named), "")
    if named and given.host is None:
        raise ValueError(f"{first} without --host: the server that is started here is not guarded; name the doors by --host")
    if given.key is not None and given.cert is None:
        raise ValueError("--key without --cert: name the certificate that the key is for")
    if tls := [name for name in _TLS if name in named]:
        if not given.host.startswith("https://"):
            raise ValueError(f"--{tls[0]} with --host {given.host}: expected a URL that begins with https://")
        _check_tls(given)
    if not any(name in named for name in _SHOWN):
        return {_TLS[name]: str(named[name]) for name in tls}
    try:
        DoorCredentials(token=None, token_file=given.token_file, api_key=None, api_key_file=given.api_key_file).headers()
    except ValueError as problem:
        raise ValueError(
            f"{given.token_file or given.api_key_file}: {problem}; expected a token or key alone in its file"
        ) from problem
    alone = dict.fromkeys(("VEDETTE_TOKEN", "VEDETTE_API_KEY", *_SHOWN.values()))  # a variable would count before the file
    return {**alone, **{(_SHOWN | _TLS)[name]: str(path) for name, path in named.items()}}


def _check_tls(given: argparse.Namespace) -> None:
    for path in (given.ca, given.cert, given.key):
        if path is not None:
            path.read_bytes()  # its error names the file; that of ssl does not
    try:
        context = ssl.create_default_context(cafile=given.ca)
        if given.cert is not None:
            context.load_cert_chain(given.cert, given.key)
    except ssl.SSLError as problem:
        files = ", ".join(f"--{name} {getattr(given, name)}" for name in _TLS if getattr(given, name) is not None)
        raise ValueError(f"{files}: cannot be used: {problem}; expected PEM, and a key that fits the certificate") from problem


def _has_broker(host: str | None) -> bool:
    """Whether there is one; says so if not."""
    if host is not None:
        return bool(StreamSettings().servers)
    try:
        LocalKafka.check()
    except LocalKafkaError as problem:
        print(f"Kafka is left out: {problem}", file=sys.stderr)
        return False
    return True


def _doors(named: str) -> list[str]:
    doors = [d.strip() for d in named.split(",") if d.strip()]
    if not doors or (unknown := sorted(set(doors) - DOORS.keys())):
        raise ValueError(f"--doors {named}: has {', '.join(unknown) if doors else 'none'}; expected some of {','.join(DOORS)}")
    return doors


def _target(given: argparse.Namespace, settings: LoadSettings, doors: list[str]) -> AbstractContextManager[LoadTarget]:
    if given.host is None:
        return local_target(OUT, settings.models, settings.data_dir, streams="kafka" in doors)
    place = urlsplit(given.host)
    if place.scheme not in {"http", "https"} or not place.hostname:
        raise ValueError(f"--host {given.host}: expected a URL of the HTTP door, e.g. http://127.0.0.1:8080")
    if "kafka" in doors and not StreamSettings().servers:
        raise ValueError("--doors kafka with --host: set VEDETTE_STREAM_SERVERS to the brokers whose events a worker scores")
    grpc = given.grpc or (settings.grpc if "grpc" in settings.model_fields_set else f"{place.hostname}:8081")
    return nullcontext(LoadTarget(given.host.rstrip("/"), {"VEDETTE_LOAD_GRPC": grpc}))


if __name__ == "__main__":
    sys.exit(main())
