"""The CustomResourceDefinitions, made from the types; `python -m operators.api.crds` writes them to manifests/crds.

They are never edited by hand: tests hold the files to the types."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from operators.api.schema import structural
from operators.api.types import GROUP, VERSION, ModelService, RolloutPolicy

FOLDER: Final = Path(__file__).resolve().parents[2] / "manifests" / "crds"
HEADER: Final = "# Generated from operators.api by `make crds`; edit the types there, not this file.\n"


def _column(name: str, path: str, kind: str = "string", *, says: str, is_wide: bool = False) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": says}
    return column | ({"priority": 1} if is_wide else {})


AGE: Final = _column("AGE", ".metadata.creationTimestamp", "date", says="How long the resource has been there.")


def _definition(
    kind: str, plural: str, *, short: str, categories: list[str], columns: list[dict[str, Any]], **version: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": categories,
            },
            "versions": [{"name": VERSION, "served": True, "storage": True, "additionalPrinterColumns": columns, **version}],
        },
    }


def model_service() -> dict[str, Any]:
    """The CRD of ModelService."""
    return _definition(
        "ModelService",
        "modelservices",
        short="msvc",
        categories=["vedette", "all"],
        columns=[
            _column("PHASE", ".status.phase", says="Where the service stands, in one word."),
            _column("READY", '.status.conditions[?(@.type=="Ready")].status', says="Whether every replica serves stable."),
            _column("STABLE", ".status.stable", says="Version and digest of the revision that serves."),
            _column("CANDIDATE", ".status.candidate", says="The same of the candidate."),
            _column("STEP", ".status.step", says="Step under way of how many."),
            _column("WEIGHT", ".status.weight", "number", says="Percentage of entities that meet the candidate."),
            _column("VERDICT", ".status.verdict", says="Of the evidence."),
            _column("WAITING-FOR", ".status.waitingFor", says="What the rollout waits for."),
            AGE,
            _column("REPLICAS", ".status.replicas", "integer", says="How many there are.", is_wide=True),
        ],
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        schema={"openAPIV3Schema": structural(ModelService)},
    )


def rollout_policy() -> dict[str, Any]:
    """The CRD of RolloutPolicy."""
    return _definition(
        "RolloutPolicy",
        "rolloutpolicies",
        short="rpol",
        categories=["vedette"],
        columns=[_column("SERVICES", ".status.services", "integer", says="ModelServices that name it."), AGE],
        subresources={"status": {}},
        schema={"openAPIV3Schema": structural(RolloutPolicy)},
    )


def definitions() -> Mapping[str, dict[str, Any]]:
    """Every CRD, by the file it is written to."""
    return {"modelservices.yaml": model_service(), "rolloutpolicies.yaml": rollout_policy()}


class _Dumper(yaml.CSafeDumper):
    """Quotes every text that a YAML 1.1 or 1.2 reader could take for something else; repeats values instead of using anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """No anchors: kubectl reads them, but people cannot follow them easily."""
        return True


def _text(dumper: yaml.CSafeDumper, value: str) -> yaml.ScalarNode:
    is_plain = value[:1].isalpha() and value.lower() not in {
        "y",
        "n",
        "yes",
        "no",
        "on",
        "off",
        "true",
        "false",
        "null",
        "inf",
        "nan",
    }
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if is_plain else '"')


_Dumper.add_representer(str, _text)


def render(definition: Mapping[str, Any]) -> str:
    """The text of a file."""
    return HEADER + yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def write(folder: Path = FOLDER) -> None:
    """Write every CRD to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, definition in definitions().items():
        (folder / name).write_text(render(definition), encoding="utf-8")


if __name__ == "__main__":
    write(*(Path(folder) for folder in sys.argv[1:2]))
