"""Pods as places to ask for evidence. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any


def is_live(pod: Mapping[str, Any]) -> bool:
    """Whether it runs, has an address and is not on its way out."""
    status = pod.get("status") or {}
    return status.get("phase") == "Running" and bool(status.get("podIP")) and not pod["metadata"].get("deletionTimestamp")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether its readiness probes pass."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return is_live(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def address(pod: Mapping[str, Any], port: int) -> str:
    """Base URL of a live one."""
    ip = pod["status"]["podIP"]
    return f"http://[{ip}]:{port}" if ":" in ip else f"http://{ip}:{port}"


def addresses(pods: Sequence[Mapping[str, Any]], port: int) -> list[str]:
    """Base URLs of the live ones."""
    return [address(pod, port) for pod in pods if is_live(pod)]
