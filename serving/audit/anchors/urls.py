"""Anchors by their URLs, as VEDETTE_AUDIT_ANCHOR lists them.

    file:///FOLDER                              a folder
    s3://BUCKET/PREFIX?lock=7                   S3; each version locked for 7 years. Also: lock_mode=GOVERNANCE, endpoint=URL, region=NAME
    kafka://HOST:PORT[,HOST:PORT]/TOPIC?NAME=VALUE   Kafka; the rest are properties of librdkafka,
                                                     file:NAME=FILE those that are secret
    SCHEME://...                                any other store that fsspec has a package for

Adapters connect when they are first used. Heavy libraries are imported by the adapter that needs them."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from serving.audit.anchors.folder import FolderAnchor
from serving.audit.anchors.port import Anchor, AnchorUrlError, without_secrets
from serving.files.option_files import OptionFileError, with_option_files

_S3: Final = ("s3", "s3a")
_OF_FILE: Final = "file:"
"""Before the name of a property of librdkafka that is in a file."""
_MODES: Final = ("COMPLIANCE", "GOVERNANCE")


def open_anchors(urls: str) -> list[Anchor]:
    """The anchors of a list of URLs with white space between. Raises AnchorUrlError."""
    return [open_anchor(url) for url in urls.split()]


def open_anchor(url: str) -> Anchor:
    """The anchor of one URL. Raises AnchorUrlError."""
    split = urlsplit(url)
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    if split.scheme == "file":
        _refuse(url, options)
        if split.netloc not in {"", "localhost"} or not split.path.startswith("/"):
            raise AnchorUrlError(f"{without_secrets(url)}: the URL of a folder has three slashes: file:///FOLDER")
        return FolderAnchor(Path(unquote(split.path)))
    if split.scheme == "kafka":
        return _kafka(url, split.netloc, split.path.strip("/"), options)
    if not split.scheme or not (split.netloc or split.path.strip("/")):
        raise AnchorUrlError(
            f"{without_secrets(url)}: expected file:///FOLDER, s3://BUCKET/PREFIX, kafka://HOST:PORT/TOPIC or another URL of fsspec"
        )
    return _objects(url, split.scheme, options)


def _kafka(url: str, servers: str, topic: str, options: dict[str, str]) -> Anchor:
    if not servers or not topic or "/" in topic:
        raise AnchorUrlError(f"{without_secrets(url)}: expected kafka://HOST:PORT/TOPIC")
    try:
        from serving.audit.anchors.kafka import KafkaAnchor
    except ImportError as error:
        raise AnchorUrlError(f"{without_secrets(url)}: a Kafka topic needs the extra `kafka` ({error})") from error
    files = {name.removeprefix(_OF_FILE): Path(file) for name, file in options.items() if name.startswith(_OF_FILE)}
    plain = {name: value for name, value in options.items() if not name.startswith(_OF_FILE)}
    try:
        return KafkaAnchor(servers, topic, with_option_files(plain, files))
    except OptionFileError as error:
        raise AnchorUrlError(f"{without_secrets(url)}: {error}") from error


def _objects(url: str, scheme: str, options: dict[str, str]) -> Anchor:
    from serving.audit.anchors.objects import TIMEOUTS, ObjectAnchor, why_unknown

    bare = url.partition("?")[0]
    why = why_unknown(scheme)
    if why is not None:
        raise AnchorUrlError(f"{without_secrets(url)}: {why}")
    if scheme not in _S3:
        _refuse(url, options)
        return ObjectAnchor(bare)
    client = {"endpoint_url": options.pop("endpoint", None), "region_name": options.pop("region", None)}
    of_s3: dict[str, Any] = {
        "client_kwargs": {name: value for name, value in client.items() if value is not None},
        "config_kwargs": dict(TIMEOUTS),
    }
    years, mode = options.pop("lock", "0"), options.pop("lock_mode", _MODES[0]).upper()
    _refuse(url, options)
    if not years.replace(".", "", 1).isdigit() or mode not in _MODES:
        raise AnchorUrlError(f"{without_secrets(url)}: lock must be a number of years, lock_mode COMPLIANCE or GOVERNANCE")
    return ObjectAnchor(bare, lock_years=float(years), lock_mode=mode, options=of_s3)


def _refuse(url: str, options: dict[str, str]) -> None:
    if options:
        raise AnchorUrlError(f"{without_secrets(url)}: unknown options {sorted(options)}; see docs/reference/audit-chain.md")
