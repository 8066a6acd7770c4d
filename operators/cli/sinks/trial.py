"""`vedette sinks test`: sends one example alert to one sink, without its spool, and prints the answer."""

import importlib.metadata
import secrets
import time
from typing import Any

from serving.sinks.config import SinkConfig
from serving.sinks.errors import SinkError
from serving.sinks.forms.example import example
from serving.sinks.opening import open_transport


def tried(config: SinkConfig) -> dict[str, Any]:
    """What the far end says to an alert that names itself a test."""
    record: dict[str, Any] = {"sink": config.name, "form": config.form_name, "to": config.to.type, "taken": False}
    alert = example(
        title="Test of a sink: no attack",
        number=secrets.randbelow(2**31),
        now_us=time.time_ns() // 1000,
        severity="informational",
    )
    begun_s = time.perf_counter()
    try:
        transport = open_transport(config, importlib.metadata.version("vedette"))
        record["to"] = transport.label
        try:
            (answer,) = transport.send([alert])
        finally:
            transport.close()
    except SinkError as problem:
        return {
            **record,
            "says": str(problem).removeprefix(f"{record['to']}: "),
            "seconds": round(time.perf_counter() - begun_s, 3),
        }
    says = answer.reason or ("sent; syslog does not acknowledge" if config.to.type == "syslog" else "acknowledged")
    return {
        **record,
        "taken": answer.what == "taken",
        "says": says,
        "id": alert.id,
        "seconds": round(time.perf_counter() - begun_s, 3),
    }
