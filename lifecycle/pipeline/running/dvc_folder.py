"""DVC's folder of a project, as `dvc init` makes it: made here where nobody did, so that DVC can be used on the project later."""

from pathlib import Path
from typing import Final

from lifecycle.pipeline.project import DVC

_IGNORED: Final = "/config.local\n/tmp\n/cache\n"
_NO_SCM: Final = "[core]\n    no_scm = True\n"


def prepare_dvc_folder(root: Path) -> Path:
    """`.dvc` of a project; made if it is not there. Raises OSError."""
    folder = root / DVC
    if not (folder / "config").exists():
        folder.mkdir(exist_ok=True)
        in_git = any((place / ".git").exists() for place in (root, *root.parents))
        (folder / "config").write_text("" if in_git else _NO_SCM, encoding="utf-8")
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    return folder
