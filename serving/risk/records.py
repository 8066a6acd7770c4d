"""Records of entities as bytes, and the upper bound of the risk of each: what every adapter of the ledger stores."""

from typing import Final

import msgspec

from serving.risk.assess import risk_of
from serving.risk.entity_record import EntityRecord, weight_of_evidence
from serving.risk.ledger import LedgerDown
from serving.risk.rules_of_risk import RiskRules

_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(EntityRecord)


def encode_record(record: EntityRecord) -> bytes:
    """msgpack; the same record gives the same bytes."""
    return _ENCODER.encode(record)


def decode_record(body: bytes) -> EntityRecord:
    """Raises LedgerDown for bytes that are no record."""
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as problem:
        raise LedgerDown(
            f"the ledger holds {len(body)} bytes that are no record: {problem}; it was written by another program or version"
        ) from problem


def ceiling(record: EntityRecord, rules: RiskRules) -> float:
    """The highest risk that the record can have from now on: what adds to it, at its strongest, without what takes away."""
    strongest = (weight_of_evidence(signal, rules.of(signal.kind), signal.at_us) for signal in record.signals.values())
    return risk_of(rules, [log_odds for log_odds in strongest if log_odds > 0])
