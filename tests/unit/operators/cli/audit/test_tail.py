"""`vedette audit tail` as somebody types it."""

import json

from typer.testing import CliRunner

from operators.cli.main import app

RUNNER = CliRunner()
RECORD = {
    "receipt": "r-1",
    "time_us": 1_700_000_000_000_000,
    "model": "flows",
    "version": "1",
    "verdicts": ["alert", "benign", "alert"],
}


def test_a_record_is_a_line_for_people_and_as_it_stands_for_programs(tmp_path):
    (tmp_path / "segment-1.jsonl").write_text(json.dumps(RECORD) + "\n")
    said = RUNNER.invoke(app, ["audit", "tail", str(tmp_path), "--no-follow"])
    assert "2023-11-14T22:13:20.000+00:00  flows/1" in said.stdout
    assert "2 alert, 1 benign" in said.stdout
    as_json = RUNNER.invoke(app, ["audit", "tail", str(tmp_path), "--no-follow", "--json"])
    assert as_json.stdout == json.dumps(RECORD) + "\n"


def test_records_of_one_tenant_or_of_callers_without_one(tmp_path):
    lines = [json.dumps({"time_us": n, "receipt": f"r{n}", "tenant": tenant} if tenant else {"time_us": n, "receipt": f"r{n}"})
             for n, tenant in enumerate(["blue", "red", "", "blue"])]  # fmt: skip
    (tmp_path / "segment-0000000000000001-l-000001.jsonl").write_text("\n".join([*lines, ""]))

    def receipts(*words):
        shown = CliRunner().invoke(app, ["audit", "tail", str(tmp_path), "--no-follow", "--json", *words])
        assert shown.exit_code == 0, shown.output
        return [json.loads(line)["receipt"] for line in shown.stdout.splitlines()]

    assert receipts("--tenant", "blue") == ["r0", "r3"]
    assert receipts("--tenant", "") == ["r2"]
    assert receipts() == ["r0", "r1", "r2", "r3"]
    words = CliRunner().invoke(app, ["audit", "tail", str(tmp_path), "--no-follow", "--tenant", "red"]).stdout
    assert "for red" in words


def test_a_store_without_a_log_is_said(tmp_path):
    said = RUNNER.invoke(app, ["audit", "tail", "--store-dir", str(tmp_path)])
    assert said.exit_code == 1
    assert "vedette up" in str(said.exception)


def test_lines_that_somebody_hostile_wrote_do_not_end_it(tmp_path):
    deep = b'{"time_us": 1, "x": ' + b"[" * 100_000 + b"\n"
    odd = b'{"time_us": 999999999999999999, "receipt": "late", "x": "\xff"}\n'
    (tmp_path / "segment-1.jsonl").write_bytes(deep + b'{"receipt": "\xff"}\n' + odd)
    said = RUNNER.invoke(app, ["audit", "tail", str(tmp_path), "--no-follow"], catch_exceptions=False)
    assert "time_us 999999999999999999" in said.stdout
    assert "2 lines are not records" in said.output
    assert RUNNER.invoke(app, ["audit", "tail", str(tmp_path), "--no-follow", "--json"], catch_exceptions=False).exit_code == 0


def test_names_that_somebody_hostile_wrote_mean_nothing_to_the_terminal(tmp_path):
    line = json.dumps(RECORD | {"model": "flows\x1b[2J\nforged  line"})
    (tmp_path / "segment-1.jsonl").write_text(line + "\n")
    said = RUNNER.invoke(app, ["audit", "tail", str(tmp_path), "--no-follow"], catch_exceptions=False).stdout
    assert "\x1b" not in said
    assert len(said.splitlines()) == 1
