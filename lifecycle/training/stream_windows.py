"""What a bundle says of its windows, so that a stream worker counts them as training did. Pure."""

from feature_repo.declaration import Declaration
from lifecycle.datasets.detector import Aggregate, Detector, Match
from lifecycle.training.features import declaration_of
from serving.features.windows.spec import EventTimeSpec, ValueMatch, WindowAggregate, WindowSpec, WindowView


def window_spec(detector: Detector) -> WindowSpec | None:
    """The windows of a detector's own feature views; None where it has none, or they are filled elsewhere. Raises DetectorError."""
    declaration = declaration_of(detector)
    return None if declaration is None or not declaration.windows else _spec(detector, declaration)


def _spec(detector: Detector, declaration: Declaration) -> WindowSpec:
    spec, moment, types = detector.features, detector.event_time, detector.source.columns
    assert spec is not None  # noqa: S101  # nosec B101  # it has windows
    assert moment is not None  # noqa: S101  # nosec B101  # features need one
    (key,) = declaration.keys
    used = {a.column for a in spec.aggregates.values() if a.column is not None}
    return WindowSpec.model_validate(
        {
            "service": declaration.service,
            "key": key.name,
            "key_datatype": key.datatype,
            "event_time": EventTimeSpec(column=moment.column, timezone=moment.timezone, duration=moment.duration),
            "columns": {name: types[name].type for name in sorted(used)},
            "aggregates": [
                _aggregate(column.name, spec.aggregates[column.name], column.datatype, column.default)
                for column in declaration.aggregates
            ],
            "views": [
                WindowView(name=declaration.view(window), seconds=window.seconds, ttl_s=window.ttl_s)
                for window in declaration.windows
            ],
        }
    )


def _aggregate(name: str, aggregate: Aggregate, datatype: str, default: float | int | bool | str) -> WindowAggregate:
    return WindowAggregate(
        name=name, op=aggregate.op, column=aggregate.column, where=_match(aggregate.where), datatype=datatype, default=default
    )


def _match(rule: Match | None) -> ValueMatch | None:
    return None if rule is None else ValueMatch(equals=rule.equals, contains=rule.contains, not_equals=rule.not_equals)
