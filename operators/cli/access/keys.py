"""`vedette keys`: API keys for programs that cannot get tokens. Made, listed, revoked; a key is shown once, its file holds digests."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from operators.cli.console import CommandError, Json, errors, plain, print_json, print_records
from operators.cli.store.store_option import store_to_use

if TYPE_CHECKING:
    from serving.access.authentication.api_keys import ApiKeyEntry

app = typer.Typer(no_args_is_help=True, help="API keys for programs that ask the doors: create, list, revoke.")
KeysFile = Annotated[
    Path | None,
    typer.Option("--file", help="The file of keys (default: the one that the access policy, VEDETTE_ACCESS, names)."),
]
ActReason = Annotated[str, typer.Option("--why", help="Reason, recorded in the log of acts.")]
_SPAN = re.compile(r"(\d{1,5})([hdwy])")
_SPAN_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_LATEST_S = 253_370_764_800  # 9999-01-01


@app.command()
def create(
    owner: Annotated[str, typer.Argument(help="Holder of the key: a program, and the person responsible for it.")],
    roles: Annotated[list[str], typer.Option("--role", help="A role of the access policy; may be given several times.")],
    expires: Annotated[str, typer.Option("--expires", help="When the key expires: 90d, 52w, 1y, 12h, or never.")] = "90d",
    tenant: Annotated[str | None, typer.Option("--tenant", help="The tenant of the caller.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="Limit the key to models that match this pattern; may be given several times."),
    ] = None,
    file: KeysFile = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the key to this new file, which only you may read.")] = None,
    why: ActReason = "",
    as_json: Json = False,
) -> None:
    """Create a key. It is shown once, on stdout or in the file of --out, and cannot be shown again."""
    from serving.access.authentication.api_keys import ApiKeyEntry, new_key, utc

    now_s = time.time()
    until_s = _until_s(expires, now_s)
    path = _file(file)
    _check_names(path if file is None else None, roles, tenant)
    key, identity, digest = new_key(os.urandom)
    entry = ApiKeyEntry.model_validate(
        {
            "id": identity,
            "sha256": digest,
            "owner": owner,
            "roles": roles,
            "tenant": tenant,
            "models": models or ["*"],
            "created": utc(now_s),
            "expires": None if until_s is None else utc(until_s),
        }
    )
    store_to_use(None)  # before anything is written
    shown = key if out is None else f"in {out}"

    def with_it(entries: "list[ApiKeyEntry]") -> "list[ApiKeyEntry]":
        _act("access.key.create", entry, why)
        return [*entries, entry]

    with nullcontext() if out is None else _written(out, key):
        _change(path, with_it)
    if as_json:
        print_json({"id": identity, "key": shown, "owner": owner, "expires": entry.expires, "file": str(path)})
        return
    if out is None:
        sys.stdout.write(key + "\n")
    where = "it is shown this once" if out is None else f"the key itself is in {out}, and nowhere else"
    told = f"key {identity} of {owner} is in {path}, by its digest; {where}. Send it as `x-api-key`."
    errors.print(escape(plain(told)), soft_wrap=True)


@contextmanager
def _written(out: Path, key: str) -> Iterator[None]:
    """A new file with the key; it is removed if what follows fails, because the key is then in no file of keys. Raises OSError."""
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        try:
            file.write(key + "\n")
            file.flush()
            yield
        except BaseException:
            out.unlink(missing_ok=True)
            raise


@app.command("list")
def list_keys(file: KeysFile = None, as_json: Json = False) -> None:
    """List the keys: owner, roles, end. The secret part is not stored and cannot be shown."""
    from serving.access.authentication.api_keys import read_keys

    now_s = time.time()
    records = [
        {
            "id": one.id,
            "owner": one.owner,
            "roles": ", ".join(one.roles),
            "tenant": one.tenant or "",
            "models": ", ".join(one.models),
            "expires": "never" if one.expires is None else one.expires.isoformat(),
            "state": "revoked" if one.revoked else "expired" if one.until_s() <= now_s else "counts",
        }
        for one in read_keys(_file(file)).entries.values()
    ]
    print_records("keys", records, as_json=as_json)


@app.command()
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The key's id, the part between the underscores.")],
    file: KeysFile = None,
    why: ActReason = "",
) -> None:
    """Revoke a key. Replicas read the file again within a second, or when the mounted Secret changes."""
    from serving.access.authentication.api_keys import utc

    path = _file(file)

    def revoked(entries: "list[ApiKeyEntry]") -> "list[ApiKeyEntry]":
        found = next((one for one in entries if one.id == identity), None)
        if found is None:
            raise CommandError(f"{path}: has no key {identity}; `vedette keys list` shows them")
        if found.revoked is not None:
            raise CommandError(f"{path}: key {identity} was revoked at {found.revoked.isoformat()}")
        _act("access.key.revoke", found, why)
        return [one if one is not found else one.model_copy(update={"revoked": utc(time.time())}) for one in entries]

    _change(path, revoked)
    errors.print(escape(plain(f"key {identity} is revoked in {path}")), soft_wrap=True)


def _change(path: Path, change: "Callable[[list[ApiKeyEntry]], list[ApiKeyEntry]]") -> None:
    """Replace the file in one step: owner, group and mode stay, and only its owner may read a new one. Raises CommandError,
    AccessPolicyError."""
    from serving.access.authentication.api_keys import keys_text, read_keys
    from serving.files.file_lock import exclusive_lock
    from serving.files.whole_files import write_whole

    try:
        with exclusive_lock(path.with_name(f".{path.name}.lock")):
            entries = list(read_keys(path).entries.values()) if path.exists() else []
            write_whole(path.resolve(), keys_text(change(entries)).decode(), new_mode=0o600, keeps_owner=True)
    except PermissionError as problem:
        raise CommandError(
            f"{path}: cannot be written so that its owner and group stay: {problem.strerror}; run it as the file's owner"
        ) from problem
    except OSError as problem:
        raise CommandError(f"{path}: cannot be written: {problem.strerror}") from problem


def _file(file: Path | None) -> Path:
    """The file of keys: the given one, or the policy's. Raises CommandError."""
    if file is not None:
        return file
    from serving.access.followed_files import read_policy
    from serving.settings import ServingSettings

    access = ServingSettings().access
    if access is None:
        raise CommandError("there is no access policy; set VEDETTE_ACCESS, or name the file of keys with --file")
    policy = read_policy(access)
    if not policy.keys_file:
        raise CommandError(f"{access}: names no file of keys; add `keys: keys.json`")
    return Path(policy.keys_file)


def _check_names(path: Path | None, roles: list[str], tenant: str | None) -> None:
    """Raises CommandError for a role or a tenant that the policy does not have. path: None where a file was given without a policy."""
    from serving.access.followed_files import read_policy
    from serving.settings import ServingSettings

    access = ServingSettings().access
    if path is None or access is None:
        return
    policy = read_policy(access)
    unknown = sorted(set(roles) - set(policy.roles))
    if unknown:
        raise CommandError(
            f"{access}: has no role {', '.join(unknown)}; roles are {', '.join(sorted(policy.roles)) or '(none)'}"
        )
    if tenant is not None and tenant not in policy.tenants:
        raise CommandError(f"{access}: has no tenant {tenant}; tenants are {', '.join(sorted(policy.tenants)) or '(none)'}")


def _act(action: str, entry: "ApiKeyEntry", why: str) -> None:
    """Record the act of a person before it is done. Raises CommandError where it cannot be recorded: then do not act."""
    from operators.cli.acts import record_act
    from serving.settings import ServingSettings

    settings = ServingSettings(store_dir=store_to_use(None))
    evidence = {"owner": entry.owner, "roles": list(entry.roles), "tenant": entry.tenant, "models": list(entry.models)}
    evidence["expires"] = None if entry.expires is None else entry.expires.isoformat()
    try:
        record_act(settings, action, f"key:{entry.id}", why or "not said", evidence)
    except OSError as problem:
        raise CommandError(
            f"the act cannot be recorded, so nothing was changed: {problem.filename or settings.store_dir}: {problem.strerror or problem}"
        ) from problem


def _until_s(text: str, now_s: float) -> float | None:
    if text == "never":
        return None
    span = _SPAN.fullmatch(text)
    if span is None or int(span[1]) == 0:
        raise CommandError(f"--expires is {text!r}, expected e.g. 90d, 52w, 1y, 12h, or never")
    until_s = now_s + int(span[1]) * _SPAN_S[span[2]]
    if until_s >= _LATEST_S:
        raise CommandError(f"--expires is {text!r}, which is after the year 9999; write `never` for a key without an end")
    return until_s
