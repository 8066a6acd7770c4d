"""How people prove who they are: a one-time link that this machine's owner makes, or an API key or token that the access policy knows.

The link's key is in `STORE/console/link.json`, readable by the store's user only. A user who can read it owns the store anyway; other
users of the machine reach the port, but get no session. A link counts once and for a short time."""

import asyncio
import base64
import getpass
import hmac
import inspect
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from operators.console.roles import ALL_ROLES, NO_ENTITIES, SignedInPerson, roles_in
from serving.access.authentication.authenticator import Refused
from serving.access.credentials import Credentials
from serving.access.followed_files import AccessFiles, follow
from serving.access.gate import Gate
from serving.access.refusals import RefusalReason

LINK_LASTS_S: Final = 3600.0
_MOST_LINK: Final = 200


class SignInRefused(Exception):
    """Nobody was signed in. The words say why without telling what would have counted."""


def link_file(store_dir: Path) -> Path:
    """Where the console of a store says its address and the key of its links."""
    return store_dir / "console" / "link.json"


class Links:
    """One-time links of one console. A new console has a new key, so links of an earlier one do not count."""

    def __init__(self, key: bytes, *, wall_s: Callable[[], float] = time.time) -> None:
        self._key, self._wall_s = key, wall_s
        self._used: dict[str, float] = {}

    @property
    def key(self) -> str:
        """The key as text, for the console's own process."""
        return base64.b64encode(self._key).decode()

    @classmethod
    def of_key(cls, text: str) -> Self:
        """Links of this key. Raises ValueError."""
        return cls(base64.b64decode(text, validate=True))

    def make(self, *, lasts_s: float = LINK_LASTS_S) -> str:
        """The secret part of a new link."""
        said = f"{int(self._wall_s() + lasts_s)}.{secrets.token_urlsafe(24)}"
        return f"{said}.{self._seal(said)}"

    def use(self, given: str) -> None:
        """Take a link; it counts no more. Raises SignInRefused."""
        self.check(given)
        now_s = self._wall_s()
        self._used = {one: until_s for one, until_s in self._used.items() if until_s > now_s}
        self._used[given] = float(given.partition(".")[0])

    def check(self, given: str) -> None:
        """Whether `use` would take it. Raises SignInRefused."""
        said, _, seal = given[:_MOST_LINK].rpartition(".")
        if not hmac.compare_digest(seal.encode("utf-8", "surrogateescape"), self._seal(said).encode()):
            raise SignInRefused("This link is not one of this console. A link ends when the console is started again.")
        if float(said.partition(".")[0]) <= self._wall_s():
            raise SignInRefused("This link is too old.")
        if given in self._used:
            raise SignInRefused("This link was used already; each counts once.")

    def _seal(self, said: str) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self._key, said.encode("utf-8", "surrogateescape"), sha256)).decode()


def keep_link_key(store_dir: Path, address: str) -> Links:
    """A new key for the links of a store's console, kept with its address where only this user reads it."""
    links = Links(secrets.token_bytes(32))
    path = link_file(store_dir)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
        json.dump({"address": address, "key": links.key}, file)
    return links


def read_link_key(store_dir: Path) -> tuple[str, Links]:
    """The address of a store's console, and its links. Raises OSError, ValueError."""
    found: Mapping[str, Any] = json.loads(link_file(store_dir).read_text(encoding="utf-8"))
    return str(found["address"]), Links.of_key(found["key"])


def owner_name() -> str:
    """The user of the operating system, whose acts those of a link are."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


class SignIn:
    """Both ways. links: None where no link counts. access: the access policy; None: no key or token counts."""

    def __init__(self, links: Links | None, access: Path | None, *, owner: str | None = None) -> None:
        self.links, self._owner = links, owner or owner_name()
        self._files = None if access is None else AccessFiles(access)
        self._gate: Gate | None = None
        if self._files is not None:
            self._files.start()
            self._gate = Gate(self._files.policy, self._files.keys, random=secrets.token_bytes)

    @property
    def takes_credentials(self) -> bool:
        """Whether keys and tokens count."""
        return self._gate is not None

    async def keep_current(self, changed: Callable[[], None]) -> None:
        """Read the policy's files again when they change, as the doors do, until cancelled. changed: called after each change."""
        if self._gate is not None and self._files is not None:
            await follow(self._gate, self._files, used=changed)
        else:
            await asyncio.Event().wait()

    def terms(self, person: SignedInPerson) -> object:
        """What the rights of a person come from, as the files say now: their key's entry or the issuers, and their tenant.

        None: they have no rights any more. Of a link: always the same."""
        if person.how == "link" or self._gate is None:
            return person.how
        policy, keys = self._gate.authenticator.policy, self._gate.authenticator.keys
        tenant = policy.tenants.get(person.tenant)
        if person.tenant and tenant is None:
            return None
        if person.how != "key":
            return policy.issuers, tenant
        entry = keys.entries.get(person.name.removeprefix("key:"))
        return None if entry is None or entry.revoked is not None else (entry, tenant)

    def counts(self, person: SignedInPerson, terms: object) -> bool:
        """Whether a session that began on these terms may go on. None: it began without (tests, links)."""
        return terms is None or self.terms(person) == terms

    def by_link(self, given: str) -> SignedInPerson:
        """The owner of the store. Raises SignInRefused."""
        if self.links is None:
            raise SignInRefused("This console takes no links. Sign in with an API key or token.")
        self.links.use(given)
        return SignedInPerson(self._owner, ALL_ROLES)

    async def by_credentials(self, given: str, address: str) -> tuple[SignedInPerson, float]:
        """The caller of an API key or token, and for how many seconds it counts. Raises SignInRefused."""
        if self._gate is None:
            raise SignInRefused("This console knows no keys or tokens. Sign in with a link.")
        credentials = Credentials(b"Bearer " + given.encode("utf-8", "surrogateescape"), address=address)
        try:
            self._gate.authenticator.recall(credentials)  # refuses what was wrong just now
            asked = self._gate.authenticator.verify(
                credentials
            )  # else a session would end with what is remembered of an earlier one
            known = await asked if inspect.isawaitable(asked) else asked
        except Refused as refused:
            raise SignInRefused(_words(refused.reason)) from None
        roles = roles_in(known.caller.roles)
        if not roles:
            raise SignInRefused("These credentials are good, but the access policy gives them no role of the console.")
        tenant = known.caller.tenant
        entities = NO_ENTITIES
        if tenant:
            of_policy = self._files.policy.tenants.get(tenant) if self._files is not None else None
            if of_policy is None:
                raise SignInRefused("These credentials belong to a tenant that the access policy does not have.")
            entities = of_policy.entities
        person = SignedInPerson(known.caller.name, roles, known.caller.method, tenant, entities, known.rights.models)
        return person, known.until_s - time.time()


def _words(reason: RefusalReason) -> str:
    if reason is RefusalReason.FLOOD:
        return "Too many wrong attempts came from your address. Wait a minute."
    if reason is RefusalReason.KEYS_AWAY:
        return "The issuer of the token cannot be asked for its keys now. Try again in a minute."
    return "The key or token is not accepted."
