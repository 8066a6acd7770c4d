"""What every kind of store promises: files whole or not at all, names given once, listings of what was written."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.governance.registry.errors import Damaged, RegistryError, Unreachable
from lifecycle.governance.registry.object_store import ObjectStore


@pytest.fixture
def objects(url):
    return ObjectStore(url)


def test_what_was_written_is_read(objects):
    objects.write("a/b.json", b"\x00one")
    assert objects.read("a/b.json") == b"\x00one"
    objects.write("a/b.json", b"two")
    assert objects.read("a/b.json") == b"two"
    assert objects.exists("a/b.json")
    assert not objects.exists("a")


def test_what_is_not_there_is_not_found(objects):
    for ask in (objects.read, objects.modified, lambda path: objects.download(path, Path("nowhere/x"))):
        with pytest.raises(FileNotFoundError):
            ask("nowhere.json")
    assert not objects.exists("nowhere.json")
    assert objects.sizes("nowhere") == {}
    assert objects.folders("nowhere") == []
    objects.remove("nowhere.json")
    Path("nowhere").rmdir() if Path("nowhere").is_dir() else None


def test_a_listing_shows_what_was_written_and_removed(objects):
    for path in ("m/flows/1.json", "m/flows/2.json", "m/simple/1.json", "m/top.json"):
        objects.write(path, path.encode())
    assert objects.sizes("m") == {"flows/1.json": 14, "flows/2.json": 14, "simple/1.json": 15, "top.json": 10}
    assert objects.folders("m") == ["flows", "simple"]
    objects.remove("m/flows/1.json")
    assert list(objects.sizes("m/flows")) == ["2.json"]
    objects.remove("m/flows/2.json")
    objects.remove_empty("m/flows")
    assert objects.folders("m") == ["simple"]


def test_all_of_a_folder_is_read(objects):
    bodies = {f"{n}.json": b"%d" % n for n in range(5)}
    for name, body in bodies.items():
        objects.write(f"m/{name}", body)
    assert objects.read_all("m") == bodies
    assert objects.read_all("nowhere") == {}


def test_another_client_sees_it_at_once(objects, url):
    other = ObjectStore(url)
    assert other.sizes("m") == {}
    objects.write("m/1.json", b"x")
    assert other.sizes("m") == {"1.json": 1}
    other.write("m/2.json", b"x")
    assert list(objects.sizes("m")) == ["1.json", "2.json"]


def test_what_another_client_wrote_since_the_last_listing_is_read(objects, url):
    objects.write("m/1.json", b"x")
    assert list(objects.sizes("m")) == ["1.json"]
    ObjectStore(url).write("m/2.json", b"y")
    assert objects.read("m/2.json") == b"y"


def test_a_name_is_given_once(objects):
    assert objects.create("m/1.json", b"first")
    assert not objects.create("m/1.json", b"second")
    assert objects.read("m/1.json") == b"first"


def test_of_many_who_create_a_name_at_once_one_succeeds(objects, url):
    if url.startswith("memory"):
        pytest.skip("fsspec's memory is for tests of one thread")
    with ThreadPoolExecutor(8) as pool:
        for number in range(5):
            made = list(pool.map(lambda who, n=number: objects.create(f"m/{n}.json", b"%d" % who), range(8)))
            assert made.count(True) == 1
            assert objects.read(f"m/{number}.json") == b"%d" % made.index(True)


def test_files_go_up_and_come_down(objects, tmp_path):
    body = os.urandom(200_000)
    (tmp_path / "up.onnx").write_bytes(body)
    objects.upload("b/deep/er/model.onnx", tmp_path / "up.onnx")
    objects.download("b/deep/er/model.onnx", tmp_path / "deep" / "down.onnx")
    assert (tmp_path / "deep" / "down.onnx").read_bytes() == body


def test_what_is_too_large_is_not_read(objects):
    objects.write("a", b"12345")
    assert objects.read("a", limit=5) == b"12345"
    with pytest.raises(Damaged, match="larger than 4"):
        objects.read("a", limit=4)


def test_the_time_of_writing_is_known(objects):
    objects.write("a", b"x")
    assert abs(objects.modified("a") - datetime.now(UTC)) < timedelta(hours=1)


def test_an_address_of_no_kind_says_what_to_install():
    with pytest.raises(RegistryError, match="this kind of store is not installed"):
        ObjectStore("carrier-pigeon://loft")


def test_a_store_that_does_not_answer_says_so(monkeypatch):
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:1", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    objects = ObjectStore("s3://nobody/at-all")
    objects._fs.retries = 1
    with pytest.raises(Unreachable, match="s3://nobody/at-all"):
        objects.read("x")


@pytest.mark.integration
def test_a_bucket_that_is_not_there_says_so(s3):
    with pytest.raises(Unreachable, match="check that the bucket"):
        ObjectStore("s3://nobody/at-all").write("x", b"x")


def test_a_folder_that_may_not_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Unreachable, match="NotADirectoryError"):
        ObjectStore(str(tmp_path / "file")).write("a/b", b"x")


@pytest.mark.parametrize("name", ["a[1]", "b*", "c?d", "e f", "g#h", "i::j"])
def test_an_address_is_no_pattern(tmp_path, name):
    objects = ObjectStore(str(tmp_path / name))
    objects.write("m/1.json", b"x")
    assert objects.read_all("m") == {"1.json": b"x"}


def test_the_draft_of_a_killed_writer_goes_with_its_folder_and_that_of_a_living_one_stays(tmp_path):
    objects = ObjectStore(str(tmp_path))
    for name in ("killed", "living"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".draft-00").write_bytes(b"x")
    os.utime(tmp_path / "killed" / ".draft-00", (0, 0))
    objects.remove_empty("killed")
    objects.remove_empty("living")
    assert objects.folders("") == ["living"]
