"""A gate with a clock of its own and an issuer in memory."""

import os
from pathlib import Path

from serving.access.authentication.api_keys import ApiKeyEntry, ApiKeys, new_key, utc
from serving.access.credentials import Credentials
from serving.access.forwarded import TrustedProxies
from serving.access.gate import Gate
from serving.access.policy import TokenIssuer
from serving.access.policy_file import parse_policy
from tests.fakes.serving.guarded.token_issuer import ISSUER, key_set

POLICY = """
version: 1
roles:
  scorer: [{verbs: [infer, metadata, statistics, index]}]
  analyst: [{verbs: [infer, explain, risk, metadata]}]
  admin: [{verbs: [infer, explain, metadata, statistics, index, repository, metrics, risk]}]
tenants:
  blue: {models: [echo, "blue-*"], entities: ["blue/*"]}
  red: {models: [words, "red-*"], entities: ["red/*"]}
shared_models: [simple]
issuers:
  - name: corp
    issuer: ISSUER
    audiences: [vedette]
    keys: keys.json
    callers:
      - {claims: {sub: "blue-*"}, roles: [scorer], tenant: blue}
      - {claims: {sub: "red-*"}, roles: [scorer], tenant: red}
      - {claims: {sub: "admin"}, roles: [admin]}
      - {claims: {sub: "blueadmin"}, roles: [admin], tenant: blue}
      - {claims: {sub: "soar"}, roles: [scorer]}
      - {claims: {sub: "ann"}, roles: [analyst]}
certificates:
  - {uri: "spiffe://prod/*", roles: [scorer], tenant: blue}
"""


class FakeIssuer:
    """Gives its keys, or fails. asked: how often."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = key_set(("RS256", "one"))
        self.asked = 0

    def __call__(self, _: TokenIssuer) -> bytes:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class FakeWorld:
    """Time stands still until it is moved."""

    def __init__(
        self,
        more: str = "",
        now_s: float = 1_800_000_000.0,
        keys: ApiKeys | None = None,
        policy: str = POLICY,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self.now_s, self.issuer = now_s, FakeIssuer()
        self.policy = parse_policy(policy.replace("ISSUER", ISSUER) + more, Path("/nowhere/access.yaml"))
        self.keys = keys or ApiKeys({})
        self.gate = Gate(
            self.policy,
            self.keys,
            random=os.urandom,
            wall_s=lambda: self.now_s,
            now_s=lambda: self.now_s,
            fetch=self.issuer,
            proxies=proxies,
        )

    def key(self, **more: object) -> str:
        """Make an API key; it counts from now on."""
        text, identity, digest = new_key(os.urandom)
        entry = ApiKeyEntry.model_validate(
            {"id": identity, "sha256": digest, "owner": "soar", "roles": ["scorer"], "created": utc(self.now_s), **more}
        )
        self.keys = ApiKeys({**self.keys.entries, identity: entry})
        self.gate.use(self.policy, self.keys)
        return text


def bearer(token: bytes, address: str = "10.0.0.1") -> Credentials:
    """Credentials of a token."""
    return Credentials(authorization=b"Bearer " + token, address=address)
