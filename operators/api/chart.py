"""Helm charts made from what kustomize renders: `python -m operators.api.chart`, or `make chart`.

Nothing of a manifest is written here. A chart is the rendering of an overlay in which known places (images, replicas, resources, where
pods may run, labels, settings, the namespace) became values whose defaults are what stood there. So with its defaults a chart renders
what `kubectl kustomize` renders. The definitions stay apart, as they do there: Helm would never upgrade them."""

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2] / "manifests"
OVERLAYS: Final = {"operator": "overlays/operator", "serving": "overlays/production"}
"""What each chart is made from."""
NAMESPACE: Final = "vedette-system"
"""Of the operator's overlay; in a chart it is the release's."""
HEADER: Final = "# Made by `make chart` from what kustomize renders; do not edit.\n"
WORDS: Final = {
    "operator": "The operator of Vedette: rollouts, experiments and autoscaling of ModelServices",
    "serving": "Vedette's data plane on KubeRay: answers whether an event is an attack",
}
_OPTIONAL: Final = ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName")
_LISTS: Final = ("tolerations", "topologySpreadConstraints")


@dataclass(slots=True)
class Values:
    """Values that were found, with what stood there as defaults."""

    images: dict[str, Any] = field(default_factory=dict)
    pods: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def all(self) -> dict[str, Any]:
        """As in values.yaml."""
        common = {"registry": "", "imagePullPolicy": "", "imagePullSecrets": [], "commonLabels": {}, "commonAnnotations": {}}
        found = {**common, "images": self.images, "pods": self.pods}
        return {**found, "settings": self.settings} if self.settings else found


def chart(name: str, rendered: str, version: str) -> dict[str, str]:
    """The files of a chart, by their paths in it. rendered: an overlay's documents. Raises ValueError for text that Helm would run."""
    if "{{" in rendered:
        raise ValueError(
            f"the overlay of the chart {name} has `{{{{` in it, which Helm would take for its own; escape it in operators/api/chart.py"
        )
    values = Values()
    resources = [r for r in yaml.safe_load_all(rendered) if r]
    names = _hashed_settings(resources, values)
    templates = "---\n".join(_text(_templated(resource, values), names) for resource in resources)
    about = {
        "apiVersion": "v2", "name": f"vedette-{name}", "description": WORDS[name], "type": "application", "version": version,
        "appVersion": version, "kubeVersion": ">=1.30.0-0",
    }  # fmt: skip
    return {
        "Chart.yaml": HEADER + _yaml(about),
        "values.yaml": HEADER + _yaml(values.all()),
        "values.schema.json": json.dumps(schema(values.all()), indent=2) + "\n",
        "templates/_helpers.tpl": _HELPERS,
        f"templates/{name}.yaml": _preamble(values, names) + templates,
    }


def schema(values: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema that takes the values of a chart and refuses names that mean nothing in it."""
    text, texts = {"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}
    pod = {
        "nodeSelector": texts, "affinity": {"type": "object"},
        **{key: {"type": "array", "items": {"type": "object"}} for key in _LISTS},
        "priorityClassName": text, "labels": texts, "annotations": texts, "resources": {"type": "object"},
        **{count: {"type": "integer", "minimum": 0} for count in ("replicas", "minReplicas", "maxReplicas")},
    }  # fmt: skip
    digest = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}
    known: dict[str, Any] = {
        "registry": text,
        "imagePullPolicy": {"enum": ["", "Always", "IfNotPresent", "Never"]},
        "imagePullSecrets": {"type": "array", "items": _object({"name": text})},
        "commonLabels": texts,
        "commonAnnotations": texts,
        "images": _object({name: _object({"repository": text, "tag": text, "digest": digest}) for name in values["images"]}),
        "pods": _object({name: _object({key: pod[key] for key in found}) for name, found in values["pods"].items()}),
        "settings": texts,
        "global": {"type": "object"},  # Helm's own
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_object({key: known[key] for key in (*values, "global")})}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _hashed_settings(resources: list[dict[str, Any]], values: Values) -> dict[str, str]:
    """Settings become values. Gives the ConfigMap's hashed name and its name without: another content must have another name."""
    found: dict[str, str] = {}
    for resource in resources:
        name = resource["metadata"]["name"]
        if resource["kind"] == "ConfigMap" and (match := re.fullmatch(r"(vedette-settings)-([a-z0-9]{10})", name)):
            values.settings.update(resource["data"])
            resource["data"] = {"@each settings": None}
            found[name] = match[1]
    return found


def _preamble(values: Values, names: Mapping[str, str]) -> str:
    """The name of the settings, once for the file: kustomize's for the default content, one of its own for any other."""
    lines = ""
    for hashed in names:
        canonical = json.dumps(values.settings, sort_keys=True, separators=(",", ":"))
        default = hashlib.sha256(canonical.encode()).hexdigest()
        suffix = hashed.rsplit("-", 1)[1]
        lines += "{{- $sum := .Values.settings | toJson | sha256sum }}\n"
        lines += f'{{{{- $settings := eq $sum "{default}" | ternary "{suffix}" (trunc 10 $sum) }}}}\n'
    return lines


def _templated(node: Any, values: Values) -> Any:
    """Known places of a resource replaced by marks, which `_text` turns into Helm's words. They are dictionary keys and texts with `@`."""
    metadata = node["metadata"]
    metadata["labels"] = {**metadata.get("labels", {}), "@each commonLabels": None}
    if "annotations" in metadata:
        metadata["annotations"] = {**metadata["annotations"], "@each commonAnnotations": None}
    else:
        metadata["@with annotations commonAnnotations"] = None
    for holder, template in _pod_templates(node):
        _pod(holder, template, values)
    return node


def _pod_templates(node: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each pod template of a resource, and what holds it: a Deployment's spec, a group of a Ray cluster."""
    if isinstance(node, list):
        for item in node:
            yield from _pod_templates(item)
    if isinstance(node, dict):
        template = node.get("template")
        if isinstance(template, dict) and "containers" in template.get("spec", {}):
            yield node, template
        for value in node.values():
            yield from _pod_templates(value)


def _pod(holder: dict[str, Any], template: dict[str, Any], values: Values) -> None:
    name, spec, metadata = template["metadata"]["labels"]["app.kubernetes.io/component"], template["spec"], template["metadata"]
    found = values.pods.setdefault(name, {})
    for count in ("replicas", "minReplicas", "maxReplicas"):
        if count in holder:
            found[count], holder[count] = holder[count], f"@value pods.{name}.{count}"
    for key in _OPTIONAL:
        default: Any = "" if key == "priorityClassName" else [] if key in _LISTS else {}
        found[key] = spec.pop(key, default)
        spec[f"@with {key} pods.{name}.{key}"] = None
    spec["@with imagePullSecrets imagePullSecrets"] = None
    found["labels"] = {}
    metadata["labels"] = {**metadata["labels"], f"@each pods.{name}.labels": None}
    found["annotations"] = metadata.pop("annotations", {})
    metadata[f"@with annotations pods.{name}.annotations"] = None
    first = spec["containers"][0]
    found["resources"], first["resources"] = first["resources"], f"@json pods.{name}.resources"
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        _image(container, values)


def _image(container: dict[str, Any], values: Values) -> None:
    repository, _, digest = container["image"].partition("@")
    folder, slash, last = repository.rpartition(
        "/"
    )  # a registry may have a port: the tag is behind the last colon of the last part
    key, _, tag = last.partition(":")
    found = {"repository": f"{folder}{slash}{key}", "tag": tag, "digest": digest}
    if values.images.setdefault(key, found) != found:
        raise ValueError(f"two images are called {key}: {values.images[key]} and {found}; give one another name")
    container["image"] = f"@image {key}"
    container["@with imagePullPolicy imagePullPolicy"] = None


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, so that Helm's words may stand in them."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent)


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


def _path(path: str) -> str:
    """A path of values as Helm writes it, whatever characters its names have."""
    return "(index .Values " + " ".join(f'"{part}"' for part in path.split(".")) + ")"


def _text(resource: Any, names: Mapping[str, str]) -> str:
    text = _yaml(resource)
    text = re.sub(
        r"^( *)'@each (\S+)': null$",
        lambda m: (
            f"{{{{- range $key, $value := {_path(m[2])} }}}}\n{m[1]}{{{{ $key }}}}: {{{{ $value | quote }}}}\n{{{{- end }}}}"
        ),
        text,
        flags=re.MULTILINE,
    )
    text = re.sub(
        r"^( *)(- )?'@with (\S+) (\S+)': null$",
        lambda m: f"{{{{- with {_path(m[4])} }}}}\n{m[1]}{m[2] or ''}{m[3]}: {{{{ toJson . }}}}\n{{{{- end }}}}",
        text,
        flags=re.MULTILINE,
    )
    text = re.sub(r"'@(?:json|value) (\S+)'", lambda m: f"{{{{ toJson {_path(m[1])} }}}}", text)
    text = re.sub(r"'@image (\S+)'", lambda m: f'{{{{ include "vedette.image" (list . "{m[1]}") }}}}', text)
    text = re.sub(r"(num_replicas): \d+", rf"\1: {{{{ toJson {_path('pods.replica.replicas')} }}}}", text)
    for hashed, name in names.items():
        text = text.replace(hashed, f"{name}-{{{{ $settings }}}}")
    return re.sub(rf"\b{NAMESPACE}\b", "{{ .Release.Namespace }}", text)


_HELPERS: Final = """\
{{- /* The reference of an image: from another registry if one is named, by digest if there is one. */ -}}
{{- define "vedette.image" -}}
{{- $values := (index . 0).Values -}}
{{- $image := index $values.images (index . 1) -}}
{{- with $values.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag }}{{ end -}}
{{- end -}}
"""


def write(folder: Path, kubectl: str = "kubectl") -> None:
    """Write every chart below a folder. Raises OSError if kubectl renders nothing."""
    version = importlib.metadata.version("vedette")
    for name, overlay in OVERLAYS.items():
        done = subprocess.run([kubectl, "kustomize", str(ROOT / overlay)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"kubectl kustomize manifests/{overlay}: {done.stderr.strip()}")
        for path, text in chart(name, done.stdout, version).items():
            place = folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    beside = Path(sys.executable).with_name("kubectl")
    write(ROOT / "chart", str(beside) if beside.exists() else "kubectl")
