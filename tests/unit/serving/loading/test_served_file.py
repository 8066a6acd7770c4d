"""served.json: one writer at a time, followed by all, and never a reason to serve what nobody asked for."""

import json
import math
import os
import threading

import pytest
from pydantic import ValidationError

from serving.loading import served_file
from serving.loading.served_file import ServedFile
from serving.models.errors import ModelError
from serving.spec import ModelSpec, RevisionSpec, ServingSpec, VariantSpec

BUNDLE = "sha256:" + "0" * 64


def spec(*names, **revision):
    return ServingSpec(
        models=tuple(ModelSpec(name=n, version="1", revision=RevisionSpec(bundle=BUNDLE, **revision)) for n in names)
    )


def adding(name):
    return lambda before: before.model_copy(update={"models": (*before.models, *spec(name).models)})


def test_the_writing_of_another_in_between_is_followed(tmp_path, monkeypatch):
    """Between this one's rename and whatever it does next, another process writes."""
    ours, other = ServedFile(tmp_path), ServedFile(tmp_path)
    ours.write(spec("a"))
    write_whole = served_file.write_whole

    def then_another(path, body):
        status = write_whole(path, body)
        if path.name == "served.json":
            write_whole(path, spec("b").model_dump_json())
        return status

    monkeypatch.setattr(served_file, "write_whole", then_another)
    ours.write(spec("c"))
    assert ours.changed()
    assert ours.read() == spec("b")
    assert other.changed()


def test_a_writer_that_had_not_followed_yet_still_follows(tmp_path):
    ours, other = ServedFile(tmp_path), ServedFile(tmp_path)
    ours.write(spec("a"))
    other.update(adding("b"), ServingSpec)
    ours.update(adding("c"), ServingSpec)
    assert ours.changed()
    assert [m.name for m in ours.read().models] == ["a", "b", "c"]


def test_changes_of_several_writers_are_all_kept(tmp_path):
    def write(names):
        file = ServedFile(tmp_path)
        for name in names:
            file.update(adding(name), ServingSpec)

    names = [[f"{letter}{n}" for n in range(8)] for letter in "abcd"]
    threads = [threading.Thread(target=write, args=(mine,)) for mine in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {m.name for m in ServedFile(tmp_path).read().models} == {name for mine in names for name in mine}


@pytest.mark.parametrize("name", ["served.json", "served.last.json"])
def test_what_was_written_is_on_the_disk(tmp_path, monkeypatch, name):
    """Else a node that loses power finds an empty file, or none, and serves what nobody asked for. Both before a rename can be seen
    of: the file under its draft's name, then the folder that holds its new name."""
    synced, fsync = [], os.fsync

    def watched(handle):
        is_there = (tmp_path / name).exists()
        inode = os.fstat(handle).st_ino
        synced.append("folder" if inode == tmp_path.stat().st_ino else (inode, is_there))
        if is_there and synced[-1] == "folder":
            synced.append("folder with it")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    ServedFile(tmp_path).write(spec("a"))
    file = ((tmp_path / name).stat().st_ino, False)
    assert file in synced, "its body, before it has its name"
    assert "folder with it" in synced[synced.index(file) :]


@pytest.mark.parametrize("damage", [lambda path: path.write_text("{"), lambda path: path.unlink()], ids=["damaged", "gone"])
def test_a_file_that_cannot_be_read_leaves_the_last_good_one(tmp_path, damage):
    file = ServedFile(tmp_path)
    file.write(spec("a"))
    damage(tmp_path / "served.json")
    assert file.read() == spec("a")
    file.update(lambda before: before, ServingSpec)
    assert ServingSpec.model_validate_json((tmp_path / "served.json").read_bytes()) == spec("a"), "it is whole again"


def test_where_nothing_can_be_read_the_message_advises_nothing_that_harms(tmp_path):
    file = ServedFile(tmp_path)
    file.write(spec("a"))
    for name in ("served.json", "served.last.json"):
        (tmp_path / name).write_text('{"models": [{"name": 1}]}')
    with pytest.raises(ModelError, match=r"models.0.name: .*`vedette up` writes it again") as refused:
        file.read()
    assert "remove" not in str(refused.value)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    file = ServedFile(tmp_path)
    file.write(spec("a"))
    (model,) = spec("b").models
    revision = model.revision.model_copy(update={"thresholds": {"siem_alerting": math.nan}})
    with pytest.raises(ModelError, match=r"thresholds\.siem_alerting"):
        file.write(ServingSpec.model_construct(models=(model.model_copy(update={"revision": revision}),)))
    assert file.read() == spec("a")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "made_with",
    [
        pytest.param(lambda value: RevisionSpec(bundle=BUNDLE, thresholds={"siem_alerting": value}), id="threshold"),
        pytest.param(
            lambda value: ModelSpec(name="a", version="1", revision=RevisionSpec(bundle=BUNDLE), latency_objective_ms=value),
            id="latency objective",
        ),
        pytest.param(
            lambda value: VariantSpec(name="b", version="1", revision=RevisionSpec(bundle=BUNDLE), weight=value), id="weight"
        ),
        pytest.param(
            lambda value: VariantSpec(name="b", version="1", revision=RevisionSpec(bundle=BUNDLE), mirror=value), id="mirror"
        ),
    ],
)
def test_a_specification_has_finite_numbers(made_with, value):
    with pytest.raises(ValidationError):
        made_with(value)


def test_what_a_newer_release_wrote_is_served_without_what_is_not_known_of_it(tmp_path, caplog):
    file = ServedFile(tmp_path)
    file.write(spec("a", operating_point="siem_alerting"))
    newer = json.loads((tmp_path / "served.json").read_text())
    newer["models"][0]["revision"]["of_a_newer_release"] = 1
    for name in ("served.json", "served.last.json"):
        (tmp_path / name).write_text(json.dumps({**newer, "also_newer": []}))
    assert ServedFile(tmp_path).read() == spec("a", operating_point="siem_alerting")
    assert "also_newer" in caplog.text
    assert "models.revision.of_a_newer_release" in caplog.text
