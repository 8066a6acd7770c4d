"""Addresses of stores: as messages and logs may show them, and which Redis a URL means.

    redis://[user:password@]host[:port][/database]                     one Redis; rediss:// for TLS
    redis+cluster://[user:password@]host:port,host:port                a cluster, by some of its nodes
    redis+sentinel://[user:password@]host:port,host:port/MASTER[/db]   the master of that name, by its sentinels

Options of a cluster: `?read_from_replicas=true`. Options of sentinels: `?sentinel_username=`, `sentinel_password=`, `sentinel_ssl=true`;
user, password and TLS (`rediss+sentinel://`) before them are the master's."""

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

CLUSTER: Final = ("redis+cluster", "rediss+cluster")
SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT: Final = 26379


def without_login(url: str) -> str:
    """The address with `***` in place of user and password; everything up to the last `@` may be part of a password."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"//.*@", "//***@", url))


class RedisEndpoints(msgspec.Struct, frozen=True):
    """What a URL of several Redis processes says. hosts: of nodes, or of sentinels. master: the name that sentinels know it by, empty for a
    cluster. sentinel_login: user and password of the sentinels themselves."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None = None
    password: str | None = None
    is_tls: bool = False
    master: str = ""
    database: int = 0
    reads_replicas: bool = False
    sentinel_login: tuple[str | None, str | None] = (None, None)
    is_sentinel_tls: bool = False


def is_cluster(url: str) -> bool:
    """Whether the URL is one of a Redis Cluster."""
    return url.split("://", 1)[0] in CLUSTER


def is_sentinel(url: str) -> bool:
    """Whether the URL is one of sentinels."""
    return url.split("://", 1)[0] in SENTINEL


def needs_one_redis(url: str, what: str, setting: str) -> str | None:
    """Why `what` cannot use this URL, and the way out; None if it is one of a single Redis."""
    if not is_cluster(url) and not is_sentinel(url):
        return None
    kind = "a Redis Cluster" if is_cluster(url) else "Redis Sentinel"
    return (
        f"{what} does not work on {kind} ({without_login(url)}); give it a single Redis with {setting}=redis://HOST:PORT/DATABASE, e.g. "
        "the Redis of manifests/components/redis"
    )


def endpoints_of(url: str) -> RedisEndpoints:
    """Parse the URL of a cluster or of sentinels. Raises ValueError."""
    parts, shown = urlsplit(url), without_login(url)
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(parts.query))
    cluster = parts.scheme in CLUSTER
    known = {"read_from_replicas"} if cluster else {"sentinel_username", "sentinel_password", "sentinel_ssl"}
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"{shown!r}: unknown option {unknown[0]!r}; there is: {', '.join(sorted(known))}")
    made = RedisEndpoints(
        hosts=tuple(_host(place, 6379 if cluster else _SENTINEL_PORT, shown) for place in places.split(",")),
        username=unquote(user) or None,
        password=unquote(password) or None,
        is_tls=parts.scheme.startswith("rediss"),
    )
    if cluster:
        if parts.path.strip("/") not in {"", "0"}:
            raise ValueError(f"{shown!r}: a Redis Cluster has no databases; leave {parts.path!r} out")
        return msgspec.structs.replace(made, reads_replicas=_flag(options, "read_from_replicas", shown))
    return _with_master(made, parts, options, shown)


def _with_master(made: RedisEndpoints, parts: SplitResult, options: dict[str, str], shown: str) -> RedisEndpoints:
    master, _, database = parts.path.strip("/").partition("/")
    if not master or (database and not (database.isascii() and database.isdigit())):
        raise ValueError(f"{shown!r}: expected redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DATABASE, e.g. /mymaster/0")
    return msgspec.structs.replace(
        made,
        master=unquote(master),
        database=int(database or 0),
        sentinel_login=(options.get("sentinel_username"), options.get("sentinel_password")),
        is_sentinel_tls=_flag(options, "sentinel_ssl", shown),
    )


def _host(place: str, port: int, shown: str) -> tuple[str, int]:
    try:
        split = urlsplit(f"//{place}")
        host, own = split.hostname, split.port
    except ValueError:  # its own message shows what may be part of a password
        host, own = None, None
    if not host:
        raise ValueError(f"{shown!r}: expected HOST:PORT,HOST:PORT; write `/`, `,` and `#` in a password as %2F, %2C and %23")
    return host, own or port


def _flag(options: dict[str, str], name: str, shown: str) -> bool:
    value = options.get(name, "false").lower()
    if value not in {"true", "false"}:
        raise ValueError(f"{shown!r}: {name} is {value!r}, expected true or false")
    return value == "true"
