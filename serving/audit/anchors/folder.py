"""An anchor in a folder: on another disk or machine, where the replica's user may add files and not change them."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from serving.audit.anchors.note_tree import NoteTree
from serving.audit.anchors.port import AnchorError
from serving.files.folder_sync import sync_folder


class FolderAnchor(NoteTree):
    """Port Anchor in a folder, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.label = folder.absolute().as_uri()

    def names_in(self, folder: str) -> list[str]:
        """See NoteTree."""
        try:
            return os.listdir(self._folder / folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise AnchorError(f"{self.label}: {error}") from error

    def content_of(self, path: str) -> bytes:
        """See NoteTree."""
        try:
            return (self._folder / path).read_bytes()
        except OSError as error:
            raise AnchorError(f"{self.label}: {error}") from error

    def create(self, path: str, content: bytes) -> bool:
        """See NoteTree."""
        whole = self._folder / path
        part = whole.with_name(f".{secrets.token_hex(8)}.part")
        try:
            if whole.exists():
                return False
            whole.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o440), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(part, whole)  # unlike a rename it never replaces what is there
            sync_folder(whole.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise AnchorError(f"{self.label}: {error}") from error
        finally:
            with suppress(OSError):
                part.unlink()
        return True
