"""A project to begin with: a pipeline of Vedette's own verbs, its detector and its policy, and rows that are generated."""

from pathlib import Path
from typing import Final

from lifecycle.pipeline.declaration.dvc_yaml import FILE
from lifecycle.pipeline.errors import PipelineFileError

FILES: Final = (FILE, "params.yaml", "detector.yaml", "floors.yaml")
DATA: Final = "data/flows.parquet"
_TEXTS: Final = Path(__file__).parent / "example"
_IGNORED: Final = ".gitignore"
_STORE: Final = "/.vedette"
"""The store of this machine, which holds its keys: nothing for Git."""
_HOSTS: Final = 900
_SEED: Final = 1


def write_example(folder: Path) -> tuple[str, ...]:
    """Write the project's files, and name them. Raises PipelineFileError if one of them is there already, OSError."""
    from lifecycle.datasets.synthetic_flows import generate_flows

    names = (*FILES, DATA)
    if there := [name for name in names if (folder / name).exists()]:
        raise PipelineFileError(f"{folder / there[0]}: is there already; --dir names a folder without it")
    (folder / DATA).parent.mkdir(parents=True, exist_ok=True)
    generate_flows(_SEED, hosts=_HOSTS).to_parquet(folder / DATA, index=False)
    for name in FILES:
        (folder / name).write_text((_TEXTS / name).read_text(encoding="utf-8"), encoding="utf-8")
    if not (folder / _IGNORED).exists():
        (folder / _IGNORED).write_text(f"{_STORE}\n", encoding="utf-8")
    return names
