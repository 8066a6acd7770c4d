"""`vedette rollout plan --requests N` replays the newest N answers; what a replica wrote of a bundle that it refused is none."""

from operators.cli.rollout.plan import _recent
from serving.audit.encoding import encode_record
from tests.fakes.serving.records import record


def test_a_refused_bundle_takes_the_place_of_no_request(tmp_path):
    records = [record(receipt=f"r{n}", time_us=n) for n in (1, 2)] + [record(receipt="x", time_us=3, source="refused")]
    (tmp_path / "segment-0000000000000001-a-000001.jsonl").write_bytes(b"".join(map(encode_record, records)))
    assert [one.receipt for one in _recent(tmp_path, "flows", 2)] == ["r1", "r2"]
