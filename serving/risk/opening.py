"""Opens the ledger of risks that the settings name."""

from pathlib import Path

from serving.risk.ledger import LedgerDown, RiskLedger
from serving.risk.rules_of_risk import read_rules
from serving.risk.sqlite_ledger import FILE, SqliteLedger
from serving.store_layout import say_layout


def open_ledger(store_dir: Path, url: str | None) -> RiskLedger:
    """In Redis if there is a URL, else in the store folder; with the store's risk.yaml. Raises LedgerDown, RiskRulesError."""
    rules = read_rules(store_dir)
    if url is None:
        try:
            say_layout(store_dir)
        except OSError as problem:
            raise LedgerDown(f"{store_dir / FILE}: cannot be opened: {problem}") from problem
        return SqliteLedger(store_dir / FILE, rules)
    from serving.risk.redis_ledger import RedisLedger  # its client takes a tenth of a second to import

    return RedisLedger(url, rules)
