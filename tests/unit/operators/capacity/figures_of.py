"""Figures for tests: round numbers, each known within a tenth."""

from operators.capacity.figures import (
    DoorWork,
    EventWork,
    MeasuredFigure,
    MeasuredPlace,
    PlanFigures,
    RecordWork,
    RedisWork,
)  # fmt: skip


def figure(value: float, spread: float = 0.1) -> MeasuredFigure:
    return MeasuredFigure(value, value * (1 - spread), value * (1 + spread))


def door(busy_s: float, delay_s: float = 0.0004) -> DoorWork:
    return DoorWork(
        figure(busy_s),
        figure(0.25),
        figure(delay_s),
        figure(10.0),
        figure(0.001),
        figure(busy_s * 1.2),
        figure(400),
        figure(1100),
    )


def plan_figures(**changes: object) -> PlanFigures:
    place = MeasuredPlace("2026-01-02T03:04:05+00:00", "0123abc", "a processor", 2, 16.0, 0.1, False)
    found = {
        "version": 1, "measured": place, "doors": {"http/features": door(160e-6), "http": door(110e-6), "grpc": door(90e-6)},
        "redis": RedisWork(figure(12e-6), figure(2500), figure(700)), "stream": EventWork(figure(62e-6), figure(300), figure(600)),
        "record": RecordWork(figure(1000), figure(250)), "row_s": figure(8e-6), "replica_bytes": figure(160e6), "page_s": figure(0.003),
    }  # fmt: skip
    return PlanFigures(**{**found, **changes})  # type: ignore[arg-type]
