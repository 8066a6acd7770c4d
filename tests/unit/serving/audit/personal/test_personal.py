"""What a record says of a person is encrypted before it is hashed, read while the key is there, and gone with it."""

import json
import threading

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given

from serving.audit.encoding import decode_array, decode_record, encode_record
from serving.audit.personal.redaction import redact, reveal, reveal_json
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.writer import SegmentWriter
from serving.messages import Tensor
from tests import laws
from tests.fakes.serving.records import record


@pytest.fixture
def keys(tmp_path):
    return SubjectKeys(tmp_path / "subjects")


def hosts(*names: bytes) -> Tensor:
    return Tensor("host", "BYTES", np.array(names, object))


def personal(rules: dict[str, str], **changes):
    return record(personal=rules, **changes)


def written(one, keys):
    return encode_record(redact(one, keys))


def test_a_name_is_not_in_the_line_and_is_read_while_the_key_is_there(keys):
    line = written(personal({"host": "encrypt"}, inputs={"host": hosts(b"ann-laptop")}), keys)
    assert b"ann-laptop" not in line
    back, gone = reveal(decode_record(line), keys)
    assert decode_array(back.inputs["host"]).tolist() == [b"ann-laptop"]
    assert not gone


def test_a_destroyed_key_leaves_nothing_of_one_person_and_all_of_another(keys):
    line = written(personal({"host": "encrypt"}, rows=2, inputs={"host": hosts(b"ann", b"bob")}), keys)
    assert keys.destroy(keys.subject(b"ann"))
    assert not keys.destroy(keys.subject(b"ann"))
    back, gone = reveal(decode_record(line), keys)
    assert (decode_array(back.inputs["host"]).tolist(), gone) == ([b"", b"bob"], {"host"})


def test_a_person_who_comes_back_gets_another_key_and_the_old_records_stay_gone(keys):
    one = personal({"host": "encrypt"}, inputs={"host": hosts(b"ann")})
    old = written(one, keys)
    keys.destroy(keys.subject(b"ann"))
    new = written(one, keys)
    assert reveal(decode_record(old), keys)[1] == {"host"}
    assert not reveal(decode_record(new), keys)[1]


def test_a_replica_that_has_a_destroyed_key_in_memory_does_not_use_it(keys, tmp_path):
    other = SubjectKeys(tmp_path / "subjects")
    one = personal({"host": "encrypt"}, inputs={"host": hosts(b"ann")})
    old = written(one, other)
    keys.destroy(keys.subject(b"ann"))
    assert reveal(decode_record(old), other)[1] == {"host"}


def test_the_other_fields_of_a_row_go_with_the_persons_key(keys):
    fields = {"host": hosts(b"ann"), "bytes": Tensor("bytes", "FP64", np.array([0.1]))}
    one = personal({"host": "encrypt", "bytes": "encrypt", "flows__count": "encrypt"}, inputs=fields)
    line = written(one, keys)
    assert {k for k, v in json.loads(line)["features"].items() if "encrypted" in str(v)} == {"flows__count"}
    keys.destroy(keys.subject(b"ann"))
    assert reveal(decode_record(line), keys)[1] == {"host", "bytes", "flows__count"}


numbers = st.floats(width=32) | st.sampled_from([float("nan"), float("inf"), -0.0])


@given(st.lists(st.tuples(st.binary(max_size=9), numbers), min_size=1, max_size=4))
@laws.examples(40)
def test_whatever_was_encrypted_comes_back_to_the_bit(tmp_path_factory, rows):
    keys = SubjectKeys(tmp_path_factory.getbasetemp() / "law")
    names, values = zip(*rows, strict=True)
    level = np.array(values, np.float32)
    fields = {"host": hosts(*names), "level": Tensor("level", "FP32", level)}
    one = personal({"host": "encrypt", "level": "encrypt"}, rows=len(rows), inputs=fields)
    back, gone = reveal(decode_record(written(one, keys)), keys)
    assert not gone
    assert decode_array(back.inputs["host"]).tolist() == list(names)
    found = decode_array(back.inputs["level"])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32)[~np.isnan(level)], level.view(np.uint32)[~np.isnan(level)])
    assert (np.isnan(found) == np.isnan(level)).all()


@pytest.mark.parametrize(("rule", "expected"), [
    pytest.param("truncate", {"datatype": "BYTES", "shape": [2], "data": ["10.1.2.0", "work"], "redacted": "truncate"}, id="truncate"),
    pytest.param("drop", {"datatype": "BYTES", "shape": [2], "redacted": "drop"}, id="drop"),
])  # fmt: skip
def test_redaction(keys, rule, expected):
    line = written(personal({"host": rule}, rows=2, inputs={"host": hosts(b"10.1.2.3", b"workstation")}), keys)
    assert json.loads(line)["inputs"]["host"] == expected
    assert reveal(decode_record(line), keys)[1] == {"host"}


def test_a_hash_tells_persons_apart_and_not_who_they_are(keys, tmp_path):
    one = personal({"host": "hash"}, rows=3, inputs={"host": hosts(b"ann", b"bob", b"ann")})
    data = json.loads(written(one, keys))["inputs"]["host"]["data"]
    assert data[0] == data[2] != data[1]
    elsewhere = SubjectKeys(tmp_path / "other")
    assert json.loads(written(one, elsewhere))["inputs"]["host"]["data"][0] != data[0], "the hash has a secret"


def test_a_request_that_names_nobody_is_dropped_rather_than_written_plain(keys):
    one = personal(
        {"host": "encrypt", "level": "encrypt"}, inputs={"level": Tensor("level", "FP32", np.zeros((1, 1), np.float32))}
    )
    assert json.loads(written(one, keys))["inputs"]["level"] == {"datatype": "FP32", "shape": [1, 1], "redacted": "drop"}


def test_without_keys_nothing_personal_is_written(keys):
    line = written(personal({"host": "encrypt"}, inputs={"host": hosts(b"ann")}), None)
    assert b"ann" not in line


def test_a_query_reads_what_the_key_opens(keys):
    line = json.loads(written(personal({"host": "encrypt"}, inputs={"host": hosts(b"ann")}), keys))
    body = json.dumps(line["inputs"]).encode()
    assert json.loads(reveal_json(body, line["receipt"], keys))["host"]["data"] == ["ann"]
    keys.destroy(keys.subject(b"ann"))
    assert "encrypted" in reveal_json(body, line["receipt"], keys).decode()


def test_a_value_that_was_moved_to_another_record_does_not_open(keys):
    stolen = json.loads(written(personal({"host": "encrypt"}, inputs={"host": hosts(b"ann")}), keys))["inputs"]
    moved = msgspec.structs.replace(record(receipt="another"), inputs=stolen)
    assert reveal(moved, keys)[1] == {"host"}


def test_replicas_that_meet_a_person_at_once_share_one_key(tmp_path):
    many = [SubjectKeys(tmp_path / "subjects") for _ in range(8)]
    begin, sealed = threading.Barrier(8), [b""] * 8

    def meet(at):
        begin.wait()
        sealed[at] = many[at].encrypt(many[at].subject(b"ann"), b"text", b"about")

    threads = [threading.Thread(target=meet, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = SubjectKeys(tmp_path / "subjects")
    assert {reader.decrypt(reader.subject(b"ann"), one, b"about") for one in sealed} == {b"text"}


def test_the_writer_redacts_and_loses_rather_than_writes_plain(tmp_path):
    keys = SubjectKeys(tmp_path / "subjects")
    writer = SegmentWriter(tmp_path / "audit", segment_bytes=1 << 20, segments=0, queue=10, subject_keys=keys)
    writer.append(personal({"host": "encrypt"}, inputs={"host": hosts(b"ann")}))
    writer.append(record(receipt="plain"))
    writer.close()
    (path,) = (tmp_path / "audit").glob("segment-*.jsonl")
    assert (writer.written, path.read_bytes().count(b"ann"), path.read_bytes().count(b'"encrypted"')) == (2, 0, 1)
    (tmp_path / "blocked").write_text("a file where the folder of keys would be")
    blocked = SegmentWriter(
        tmp_path / "other", segment_bytes=1 << 20, segments=0, queue=10, subject_keys=SubjectKeys(tmp_path / "blocked")
    )
    blocked.append(personal({"host": "encrypt"}, inputs={"host": hosts(b"ann")}))
    blocked.close()
    assert (blocked.written, blocked.dropped) == (0, 1)
