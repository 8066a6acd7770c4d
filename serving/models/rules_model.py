"""The rules of a bundle: read from its folder, compiled against its columns. What they say is serving.rules'."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.models.bundle import Bundle
from serving.models.errors import BundleError
from serving.models.manifest import Manifest
from serving.rules.declared.rules_spec import RULE_COLUMNS
from serving.rules.declared.rules_yaml import FOLDER
from serving.rules.errors import RuleError
from serving.rules.ruleset import EventPlace, RuleSet, read_files, read_rules, techniques_of_files


def rules_of(bundle: Bundle) -> RuleSet | None:
    """Compile a bundle's rules; None if it has none. Raises BundleError if they do not hold."""
    if bundle.manifest.rules is None:
        return None
    return compile_rules(bundle.manifest, _files(bundle.folder, bundle.manifest))


def compile_rules(manifest: Manifest, files: Mapping[str, bytes]) -> RuleSet:
    """The rules in these files against the bundle's columns. Raises BundleError."""
    where = f"bundle {manifest.name}/{manifest.version}"
    declared = manifest.rules
    source: dict[str, str] = {} if declared is None else {str(part): value for part, value in declared.logsource.items()}
    event_field = None if declared is None else declared.event_field
    place = EventPlace(event_field, tuple(f.name for f in manifest.request_fields), source)
    try:
        found = read_rules(files, column_datatypes(manifest), place)
    except RuleError as problem:
        raise BundleError(f"{where}: {problem}") from problem
    if declared is not None and declared.use != found.use:
        raise BundleError(
            f"{where}: rules.use is {declared.use!r}, and its rules.yaml says {found.use!r}; build the bundle again"
        )
    return found


def derived_fields(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What the manifest's `rules` says that follows from the rule files. files: name within the folder -> content. Raises BundleError."""
    try:
        found = read_files(files)
    except RuleError as problem:
        raise BundleError(f"rules: {problem}") from problem
    techniques = techniques_of_files(found)
    use = found.declared.use
    return {**({"use": use} if use != "fallback" else {}), **({"techniques": techniques} if techniques else {})}


def column_datatypes(manifest: Manifest) -> dict[str, str]:
    """Every column a threshold rule may name: entity keys, request fields, and the features that the model takes."""
    tensors = {t.name: t.datatype for t in manifest.inputs}
    model_columns = {
        column: tensors[part.tensor] for part in manifest.assembly for column in part.columns if column not in RULE_COLUMNS
    }
    return {**model_columns, **{f.name: f.datatype for f in (*manifest.entity_keys, *manifest.request_fields)}}


def _files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in manifest.files if path.startswith(FOLDER)}
