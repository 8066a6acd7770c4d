"""`vedette audit key new | show | rotate | trust | revoke`: the key that signs the chain, and the keys that this store trusts.

What they do is in serving.audit.keys. Each change of keys is recorded as a governed act before it is made."""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from operators.cli.acts import record_act
from operators.cli.console import CommandError, Json, page, print_json, print_table
from operators.cli.store.store_option import StoreDir
from operators.cli.times import time_text, to_us

if TYPE_CHECKING:
    from serving.audit.keys.keyring import Keyring
    from serving.audit.signed_note import VerifierKey
    from serving.settings import ServingSettings

app = typer.Typer(no_args_is_help=True, help="The key that signs the chain, and the keys that are trusted.")
Reason = Annotated[str, typer.Option(help="Reason, recorded in the log of governed acts.")]
KeyText = Annotated[str, typer.Argument(metavar="KEY", help="A public key, NAME+ID+KEY, or a file that holds one.")]


@app.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Path of the private key, e.g. audit.pem.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the key's owner (default: VEDETTE_AUDIT_KEY_NAME, then `audit`).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key: the private half as PEM, for a secret; the public half beside it, for verifiers."""
    from serving.audit.keys.keyring import DEFAULT_NAME
    from serving.audit.signed_note import Signer

    named = name or _settings(None).audit_key_name or DEFAULT_NAME
    public = path.with_suffix(".pub")
    for half in (path, public):
        if half.exists():
            raise CommandError(f"{half}: exists already, and a key is never overwritten; give the new key another name")
    verifier = Signer.create(path, named).verifier
    public.write_text(f"{verifier}\n", encoding="utf-8")
    if as_json:
        print_json({"private": path, "public": public, "key": str(verifier)})
        return
    page().print(f"private  {path}\npublic   {public}\nkey      {verifier}", soft_wrap=True, markup=False)


@app.command()
def show(store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Show the key that signs now, and the keys that this store trusts, each with the time for which it is trusted."""
    from serving.audit.keys.trust import Trust

    settings = _settings(store_dir)
    keyring = _keyring(settings)
    signer = keyring.signer()
    trust = Trust.of_store(settings.store_dir, settings.store_dir / "audit")
    signing = str(signer.verifier) if signer is not None else None
    is_trusted = signer is not None and any(t.key == signer.verifier and t.may_sign(_now_us()) for t in trust.keys)
    record: dict[str, Any] = {
        "file": keyring.path,
        "key": signing,
        "is_trusted": is_trusted,
        "problem": keyring.problem,
        "trusted": [{"key": str(t.key), "from_us": t.from_us, "until_us": t.until_us, "why": t.why} for t in trust.keys],
        "problems": list(trust.problems),
    }
    if as_json:
        print_json(record)
        return
    page().print(f"{keyring.path}: {signing or keyring.problem}", soft_wrap=True, markup=False)
    if signer is not None and not is_trusted:
        page().print("[yellow]not trusted[/] by this store: vedette audit key trust KEY", soft_wrap=True)
    rows = [(_short(t.key), _when(t.from_us or None), _when(t.until_us), t.why) for t in trust.keys]
    print_table("trusted keys", ("key", "from", "until", "why"), rows)
    for problem in trust.problems:
        page().print(f"[yellow]does not count:[/] {escape(str(problem))}", soft_wrap=True)


@app.command()
def rotate(
    to: Annotated[
        Path | None, typer.Option(help="Folder for the new key and its notes, where the key is a mounted secret.")
    ] = None,
    reason: Reason = "rotation",
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Replace the signing key. The old key vouches for the new one, so that verifiers with the old key accept the new one."""
    from lifecycle.governance.acts import LABELS
    from lifecycle.governance.verify.missing import FOLDERS
    from serving.audit.keys.keyring import default_key
    from serving.audit.keys.rotation import rotate as replace
    from serving.audit.keys.trust import trusted_folder

    settings = _settings(store_dir)
    store, key = settings.store_dir, settings.audit_key
    if key is not None and to is None:
        raise CommandError(
            f"VEDETTE_AUDIT_KEY is {key}, a secret that others mount; give a folder for the new one: vedette audit key rotate --to FOLDER"
        )
    old = _keyring(settings).signer()
    if old is not None:
        _record(settings, "key.rotate", old.verifier, reason)
    done = replace(
        key or default_key(store),
        settings.audit_key_name,
        now_us=_now_us(),
        folders=[store / name for name in FOLDERS if name != LABELS or (store / name).is_dir()],
        trusted=trusted_folder(store),
        to=to,
    )
    if as_json:
        print_json({"old": str(done.old), "new": str(done.new), "private": done.key})
        return
    page().print(f"replaced  {_short(done.old)}\nnew       {done.new}\nprivate   {done.key}", soft_wrap=True, markup=False)
    if to is not None:
        page().print(
            f"Put the files of {to} into the secret: audit.pem and keys.jsonl belong together.", soft_wrap=True, markup=False
        )


@app.command()
def trust(key: KeyText, reason: Reason = "pinned", store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Trust a key in this store, and the keys that it vouches for."""
    from serving.audit.keys.keyring import pin
    from serving.audit.keys.trust import trusted_folder

    settings, verifier = _settings(store_dir), _parse(key)
    _record(settings, "key.trust", verifier, reason)
    path = pin(trusted_folder(settings.store_dir), verifier)
    if as_json:
        print_json({"key": str(verifier), "file": path})
    else:
        page().print(f"{path}: {verifier}", soft_wrap=True, markup=False)


@app.command()
def revoke(
    key: KeyText,
    after: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"], help="UTC; earlier signatures still count (default: now)."),
    ] = None,
    reason: Reason = "revoked",
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Revoke a key in this store: its later signatures do not count, and it vouches for no key. Trust its successor by `key trust`."""
    from serving.audit.keys.keyring import revoke as write_revocation
    from serving.audit.keys.trust import trusted_folder

    settings, verifier = _settings(store_dir), _parse(key)
    time_us = to_us(after, _now_us())
    _record(settings, "key.revoke", verifier, reason, {"after_us": time_us})
    path = write_revocation(trusted_folder(settings.store_dir), verifier, time_us)
    if as_json:
        print_json({"key": str(verifier), "after_us": time_us, "file": path})
    else:
        page().print(f"{_short(verifier)} may not sign after {_when(time_us)}", soft_wrap=True, markup=False)


def _settings(store_dir: Path | None) -> "ServingSettings":
    from serving.settings import ServingSettings

    settings = ServingSettings()
    return settings if store_dir is None else settings.model_copy(update={"store_dir": store_dir})


def _keyring(settings: "ServingSettings") -> "Keyring":
    """The keyring as it is; nothing is made."""
    from serving.audit.keys.keyring import Keyring, default_key

    return Keyring(settings.audit_key or default_key(settings.store_dir), settings.audit_key_name)


def _record(
    settings: "ServingSettings", action: str, key: "VerifierKey", reason: str, evidence: dict[str, Any] | None = None
) -> None:
    record_act(settings, action, f"key/{key.name}+{key.key_id.hex()}", reason, evidence)


def _parse(text: str) -> "VerifierKey":
    from serving.audit.signed_note import VerifierKey

    path = Path(text)
    return VerifierKey.parse(path.read_text(encoding="utf-8") if path.is_file() else text)


def _short(key: "VerifierKey") -> str:
    return f"{key.name}+{key.key_id.hex()}"


def _when(time_us: int | None) -> str:
    """A time; the number itself if it is outside the calendar, as somebody may have written it into the file of revocations."""
    return "-" if time_us is None else time_text(time_us, "%Y-%m-%d %H:%M:%S UTC")


def _now_us() -> int:
    return time.time_ns() // 1000
