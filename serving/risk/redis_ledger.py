"""The ledger in Redis, for many machines. A record is replaced only if it is still the one that was read; otherwise it is read again.

The one user of the `redis` client here."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis

from serving.features.stores.addresses import needs_one_redis
from serving.risk.assess import Risk, assess
from serving.risk.entity_record import EntityRecord, newest_us
from serving.risk.ledger import LedgerDown, RiskUpdate, by_entity, updated
from serving.risk.records import ceiling, decode_record, encode_record
from serving.risk.rules_of_risk import RiskRules
from serving.risk.signal import PendingCheck, RiskSignal

TIMEOUT_S: Final = 5.0
ATTEMPTS: Final = 50
"""How often a record that others change meanwhile is read again."""
_PAGE: Final = 200
_REPLACE: Final = """
local late = {}
for i = 1, #KEYS - 2 do
  local at = (i - 1) * 5
  local now = redis.call('GET', KEYS[i + 2])
  if (now or '') == ARGV[at + 1] then
    redis.call('SET', KEYS[i + 2], ARGV[at + 2])
    redis.call('ZADD', KEYS[1], ARGV[at + 3], ARGV[at + 5])
    redis.call('ZADD', KEYS[2], ARGV[at + 4], ARGV[at + 5])
  else
    late[#late + 1] = i - 1
  end
end
return late
"""


class RedisLedger:
    """Port RiskLedger. url: `redis://...`. project: separates ledgers in one Redis. Raises LedgerDown."""

    def __init__(self, url: str, rules: RiskRules, project: str = "vedette") -> None:
        if (refused := needs_one_redis(url, "the risk ledger", "VEDETTE_RISK_URL")) is not None:
            raise LedgerDown(refused)
        self._rules = rules
        self._prefix = f"vedette:risk:{{{project}}}:"  # braces: one slot in a cluster, as a script needs
        self._ceilings, self._times = f"{self._prefix}ceilings", f"{self._prefix}times"
        options = (
            {"ssl_exclude_verify_flags": [ssl.VERIFY_X509_STRICT]} if url.startswith("rediss:") else {}
        )  # as serving.tls_trust
        try:
            self._redis: Any = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, **options)
        except ValueError as problem:
            raise LedgerDown("the risk ledger's address is no redis:// URL; expected redis://HOST:PORT/DATABASE") from problem
        with self._errors():
            self._replace = self._redis.register_script(_REPLACE)

    def add(self, signals: Sequence[RiskSignal], pending: Sequence[PendingCheck], now_us: int) -> list[RiskUpdate]:
        """See the port."""
        wanted, updates = dict(by_entity(signals, pending)), list[RiskUpdate]()
        for _ in range(ATTEMPTS):
            if not wanted:
                return updates
            entities, keys, values, changed = list(wanted), [], [], []
            with self._errors():
                bodies = self._redis.mget([self._key(entity) for entity in entities])
            for entity, body in zip(entities, bodies, strict=True):
                record = decode_record(body) if body else EntityRecord(entity=entity)
                after, update = updated(record, *wanted[entity], self._rules, now_us)
                if update is None:
                    del wanted[entity]
                    continue
                keys.append(self._key(entity))
                values += [body or b"", encode_record(after), ceiling(after, self._rules), newest_us(after), entity]
                changed.append((entity, update))
            late = set()
            if keys:
                with self._errors():
                    late = set(self._replace(keys=[self._ceilings, self._times, *keys], args=values))
            for number, (entity, update) in enumerate(changed):
                if number not in late:
                    updates.append(update)
                    del wanted[entity]
        raise LedgerDown(f"{len(wanted)} entities were changed by others {ATTEMPTS} times in a row; try again")

    def find(self, entity: str, now_us: int) -> Risk | None:
        """See the port."""
        with self._errors():
            body = self._redis.get(self._key(entity))
        return None if body is None else assess(decode_record(body), self._rules, now_us)

    def highest(self, most: int, now_us: int, is_wanted: Callable[[str], bool] | None = None) -> list[Risk]:
        """See the port. As in the SQLite ledger: until none that is left can be among those wanted."""
        found: list[Risk] = []
        start = 0
        while True:
            with self._errors():
                page = self._redis.zrevrange(self._ceilings, start, start + _PAGE - 1, withscores=True)
                if not page or (len(found) >= most and page[0][1] < found[most - 1].risk):
                    return found
                named = [name.decode() for name, _ in page]
                wanted = [self._key(name) for name in named if is_wanted is None or is_wanted(name)]
                bodies = self._redis.mget(wanted) if wanted else []
            found += [assess(decode_record(body), self._rules, now_us) for body in bodies if body]
            found.sort(key=lambda risk: (-risk.risk, risk.entity))
            del found[most:]
            start += _PAGE

    def forget_before(self, until_us: int) -> int:
        """See the port."""
        forgotten = 0
        with self._errors():
            while names := self._redis.zrangebyscore(self._times, "-inf", f"({until_us}", start=0, num=_PAGE):
                with self._redis.pipeline(transaction=True) as pipe:
                    pipe.delete(*(self._key(name.decode()) for name in names))
                    pipe.zrem(self._ceilings, *names)
                    pipe.zrem(self._times, *names)
                    pipe.execute()
                forgotten += len(names)
        return forgotten

    def close(self) -> None:
        """See the port."""
        self._redis.close()

    def _key(self, entity: str) -> str:
        return f"{self._prefix}e:{entity}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as problem:
            raise LedgerDown(f"the risk ledger in Redis: {problem}; check VEDETTE_RISK_URL and that Redis answers") from problem
