"""Files that did not change are not read again, and files that did always are."""

import os

import pytest

from lifecycle.pipeline.content.digests import Hasher, md5_of
from lifecycle.pipeline.content.hash_memory import HashMemory
from lifecycle.pipeline.errors import ContentError


class Reads:
    """Counts what is read; the clock is an hour ahead of the files, so that none is too new to be remembered."""

    def __init__(self, folder, **more):
        self.folder, self.paths, self.more = folder, [], more

    def digest(self, path):
        ahead = {"now_ns": lambda: os.stat(path).st_ctime_ns + 3600 * 10**9} if path.exists() else {}
        memory = HashMemory(self.folder / "hashes.db", **{**ahead, **self.more})
        try:
            return Hasher(memory, lambda path, count: self.paths.append(os.path.basename(path))).digest(path)
        finally:
            memory.close()


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "data"


def test_an_unchanged_file_is_read_once(tmp_path, data):
    reads = Reads(tmp_path)
    assert reads.digest(data) == reads.digest(data)
    assert reads.digest(data / "a").md5 == md5_of(b"a")
    assert reads.paths == ["a", "b"]


def test_a_change_is_seen_though_size_and_time_are_as_before(tmp_path, data):
    reads = Reads(tmp_path)
    before, info = reads.digest(data), (data / "a").stat()
    (data / "a").write_text("x")
    os.utime(data / "a", ns=(info.st_atime_ns, info.st_mtime_ns))
    assert reads.digest(data) != before
    assert reads.paths == ["a", "b", "a"]


def test_a_file_that_was_written_a_moment_ago_is_not_remembered(tmp_path, data):
    reads = Reads(tmp_path, now_ns=lambda: (data / "a").stat().st_ctime_ns + 1_000_000)
    reads.digest(data / "a")
    reads.digest(data / "a")
    assert reads.paths == ["a", "a"]


def test_what_is_gone_is_forgotten(tmp_path, data):
    reads = Reads(tmp_path)
    reads.digest(data)
    (data / "b").unlink()
    reads.digest(data)
    assert set(HashMemory(tmp_path / "hashes.db").known_within(str(data))) == {str(data / "a")}


@pytest.mark.parametrize("body", [b"", b"no database", os.urandom(8192)], ids=["empty", "text", "noise"])
def test_a_memory_that_cannot_be_used_is_begun_again(tmp_path, data, body):
    (tmp_path / "hashes.db").write_bytes(body)
    reads = Reads(tmp_path)
    assert reads.digest(data) == reads.digest(data)
    assert reads.paths == ["a", "b"]


def test_a_memory_without_a_folder_does_without(tmp_path, data):
    assert Hasher(HashMemory(tmp_path / "none" / "hashes.db")).digest(data) == Hasher(HashMemory()).digest(data)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, data):
    def grow(path, count):
        with open(path, "a") as file:
            file.write("more")

    with pytest.raises(ContentError, match="changed while it was read"):
        Hasher(HashMemory(), grow).digest(data / "a")


def test_a_file_that_cannot_be_read_is_named(data):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (data / "a").chmod(0)
    with pytest.raises(ContentError, match="data/a: cannot be read: Permission denied"):
        Hasher(HashMemory()).digest(data)
