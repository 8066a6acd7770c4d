"""A Redis address as Feast writes it in feature_store.yaml, from the URL that serving reads (serving.features.stores.addresses)."""

import json
from typing import Any
from urllib.parse import unquote, urlsplit

from serving.features.stores.addresses import RedisEndpoints, endpoints_of, is_cluster, is_sentinel


class StoreError(Exception):
    """Feast could not do it; the message says what, where, and the remedy."""


class WrongAddress(StoreError):
    """The URL is no address of a Redis, or one that Feast cannot write."""


def online_store_on(redis_url: str) -> dict[str, Any]:
    """Feast's `online_store` for a URL. Raises WrongAddress.

    >>> online_store_on("redis+sentinel://s1,s2/m")["connection_string"]
    's1:26379,s2:26379,db=0'
    """
    if is_cluster(redis_url):
        ends = _endpoints(redis_url)
        options = [*_login(ends.username, ends.password), *(["ssl=true"] if ends.is_tls else [])]
        options += ["read_from_replicas=true"] if ends.reads_replicas else []
        return {"type": "redis", "redis_type": "redis_cluster", "connection_string": ",".join([*_places(ends), *options])}
    if is_sentinel(redis_url):
        ends = _endpoints(redis_url)
        options = [f"db={ends.database}", *_login(ends.username, ends.password), *(["ssl=true"] if ends.is_tls else [])]
        options += _of_sentinels(ends)
        connection = ",".join([*_places(ends), *options])
        return {
            "type": "redis", "redis_type": "redis_sentinel", "sentinel_master": ends.master, "connection_string": connection,
        }  # fmt: skip
    return {"type": "redis", "connection_string": connection_string(redis_url)}


def connection_string(redis_url: str) -> str:
    """Feast's way of writing a Redis address, from a URL. Raises WrongAddress.

    >>> connection_string("redis://:secret@cache:6380/2")
    'cache:6380,db=2,password=secret'
    """
    expected = "expected redis://HOST:PORT/DB (rediss:// for TLS; %2F for a / in a password)"
    try:
        url = urlsplit(redis_url)
        port = url.port or 6379
    except ValueError:  # its text may hold a part of the password
        raise WrongAddress(f"VEDETTE_REDIS_URL has a port that is not a number; {expected}") from None
    if url.scheme not in ("redis", "rediss") or not url.hostname:
        raise WrongAddress(f"VEDETTE_REDIS_URL has scheme {url.scheme!r} and host {url.hostname or ''!r}; {expected}")
    parts = [f"{url.hostname}:{port}", f"db={url.path.strip('/') or 0}"]
    parts += _login(*(unquote(secret) if secret else None for secret in (url.username, url.password)))
    if url.scheme == "rediss":
        parts.append("ssl=true")
    return ",".join(parts)


def _endpoints(redis_url: str) -> RedisEndpoints:
    try:
        return endpoints_of(redis_url)
    except ValueError as problem:
        raise WrongAddress(f"VEDETTE_REDIS_URL: {problem}") from None


def _places(ends: RedisEndpoints) -> list[str]:
    if any(":" in host for host, _ in ends.hosts):
        raise WrongAddress("VEDETTE_REDIS_URL has an IPv6 address, which Feast does not support; use a name of the host")
    return [f"{host}:{port}" for host, port in ends.hosts]


def _login(username: str | None, password: str | None) -> list[str]:
    parts = []
    for name, secret in (("username", username), ("password", password)):
        if secret and "," in secret:
            raise WrongAddress(
                f"the {name} in VEDETTE_REDIS_URL has a comma, which Feast does not support; choose another {name}"
            )
        if secret:
            parts.append(f"{name}={secret}")
    return parts


def _of_sentinels(ends: RedisEndpoints) -> list[str]:
    """Feast splits at commas, so that its sentinel_kwargs can have one entry only."""
    username, password = ends.sentinel_login
    own: dict[str, Any] = {name: value for name, value in (("username", username), ("password", password)) if value}
    own |= {"ssl": True} if ends.is_sentinel_tls else {}
    if len(own) > 1 or any("," in str(value) for value in own.values()):
        raise WrongAddress(
            "VEDETTE_REDIS_URL: Feast can hand one of user, password and TLS to sentinels, without a comma; serving can read with all of "
            "them, but training needs sentinels that ask for one at most"
        )
    return [f"sentinel_kwargs={json.dumps(own)}"] if own else []
