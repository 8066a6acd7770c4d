"""The environment and the arguments of a container, as a kubelet computes them. Pure.

Source: Kubernetes API reference, Container v1 (`env`, `envFrom`, `command`), "Define Dependent Environment Variables"."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any

Json = dict[str, Any]
_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")
_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9, "T": Decimal(10) ** 12,
    "Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40,
}  # fmt: skip


class ConfigError(Exception):
    """A container names what is not there: its state is CreateContainerConfigError until it comes."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value, `$$(NAME)` the text `$(NAME)`; an unknown name stays as it is."""

    def one(found: "re.Match[str]") -> str:
        if found[1] is None:
            return "$"
        return variables.get(found[1], found[0])

    return _REFERENCE.sub(one, text)


def quantity(text: str | int | float) -> Decimal:
    """`500m`, `2Gi`, `1.5`, `1e3`. Raises ValueError for anything else."""
    found = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)", str(text))
    if not found or found[2] not in _SUFFIXES:
        raise ValueError(f"{text!r} is no quantity; write e.g. 500m or 2Gi")
    return Decimal(found[1]) * _SUFFIXES[found[2]]


def of_resource(container: Json, selector: Json, allocatable: Mapping[str, str]) -> str:
    """A resourceFieldRef; without a limit, what the node has. Rounded up to the divisor."""
    kind, _, name = selector["resource"].partition(".")
    resources = container.get("resources", {})
    asked = resources.get(kind, {}).get(name)
    if asked is None:
        asked = allocatable.get(name, "0") if kind == "limits" else resources.get("limits", {}).get(name, "0")
    divisor = quantity(selector.get("divisor") or 1) or Decimal(1)
    return str(int((quantity(asked) / divisor).to_integral_value(ROUND_CEILING)))


def of_pod(pod: Json, path: str) -> str:
    """A fieldRef: `metadata.name`, `metadata.labels['app']`, `status.podIP`, `spec.nodeName`... Raises ConfigError."""
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((pod["metadata"].get(found[1]) or {}).get(found[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = pod["metadata"].get(path.rpartition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    if path == "status.podIPs":
        return ",".join(entry["ip"] for entry in pod.get("status", {}).get("podIPs", ()))
    at: Any = pod
    for part in path.split("."):
        if not isinstance(at, dict):
            raise ConfigError(f"fieldPath {path} is not known")
        at = at.get(part, "")
    return str(at)


def service_links(services: Iterable[Json]) -> dict[str, str]:
    """The variables that tell of a namespace's Services. Headless ones have none."""
    told: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP")
        ports = service["spec"].get("ports") or []
        if address in (None, "", "None") or not ports:
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        told |= {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(ports[0]["port"])}
        told |= {f"{name}_SERVICE_PORT_{p['name'].upper().replace('-', '_')}": str(p["port"]) for p in ports if p.get("name")}
        for index, port in enumerate(ports):
            protocol = port.get("protocol", "TCP")
            url, prefix = f"{protocol.lower()}://{address}:{port['port']}", f"{name}_PORT_{port['port']}_{protocol}"
            if index == 0:
                told[f"{name}_PORT"] = url
            told |= {
                prefix: url,
                f"{prefix}_PROTO": protocol.lower(),
                f"{prefix}_PORT": str(port["port"]),
                f"{prefix}_ADDR": address,
            }
    return told


def variables(
    container: Json,
    pod: Json,
    links: Mapping[str, str],
    entries: Callable[[str, str, bool], Mapping[str, str]],
    allocatable: Mapping[str, str],
) -> dict[str, str]:
    """The container's own variables over those of the Services. entries(kind, name, optional): what one holds. Raises ConfigError."""
    told: dict[str, str] = dict(links)
    for source in container.get("envFrom") or ():
        kind = "configMap" if "configMapRef" in source else "secret"
        named = source[f"{kind}Ref"]
        found = entries(kind, named["name"], named.get("optional", False))
        told |= {source.get("prefix", "") + key: value for key, value in found.items()}
    for variable in container.get("env") or ():
        value = _value(variable, container, pod, told, entries, allocatable)
        if value is not None:
            told[variable["name"]] = value
    return told


def _value(
    variable: Json,
    container: Json,
    pod: Json,
    told: Mapping[str, str],
    entries: Callable[[str, str, bool], Mapping[str, str]],
    allocatable: Mapping[str, str],
) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value", ""), told)
    if "fieldRef" in source:
        return of_pod(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return of_resource(container, source["resourceFieldRef"], allocatable)
    kind = "configMap" if "configMapKeyRef" in source else "secret"
    named = source[f"{kind}KeyRef"]
    optional = named.get("optional", False)
    found = entries(kind, named["name"], optional)
    if named["key"] in found:
        return found[named["key"]]
    if optional:
        return None
    raise ConfigError(f"couldn't find key {named['key']} in {kind} {named['name']}")


def command_line(container: Json, entry: Sequence[str], arguments: Sequence[str], told: Mapping[str, str]) -> list[str]:
    """What is run: the container's command and args, expanded, over the image's."""
    command, args = container.get("command"), container.get("args")
    chosen = [*command, *(args or ())] if command else [*entry, *(args or arguments)]
    return [expand(word, told) for word in chosen]
