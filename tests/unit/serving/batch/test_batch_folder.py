"""What is written into an object store appears whole or not at all, also where its library cannot give an upload up."""

import gc
import sys
from typing import ClassVar

import fsspec
import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from serving.batch.data.files import BatchFolder


class _Upload(AbstractBufferedFile):
    """An upload of several parts, as fsspec's base class makes it: `discard` does nothing."""

    def _initiate_upload(self):
        self.parts = []

    def _upload_chunk(self, final=False):
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.objects[self.path] = b"".join(self.parts)


class _Bucket(AbstractFileSystem):
    protocol = "bucket-of-a-test"
    cachable = False
    objects: ClassVar[dict[str, bytes]] = {}

    def _open(self, path, mode="rb", **options):
        return _Upload(self, path, mode, **options)


@pytest.fixture
def objects():
    fsspec.register_implementation(_Bucket.protocol, _Bucket, clobber=True)
    _Bucket.objects.clear()
    return _Bucket.objects


def test_what_ends_well_is_there(objects):
    with BatchFolder(f"{_Bucket.protocol}://out").replacing("file") as stream:
        stream.write(b"whole")
    assert objects == {"out/file": b"whole"}


def test_what_ends_badly_is_not_there_even_when_its_stream_is_collected(objects, monkeypatch):
    unraised = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: unraised.append(one.exc_value))
    with pytest.raises(OSError, match="No space left"):
        _write_half()
    gc.collect()
    assert objects == {}
    assert unraised == []


def _write_half():
    with BatchFolder(f"{_Bucket.protocol}://out").replacing("file") as stream:
        stream.write(b"a half")
        raise OSError(28, "No space left on device")
