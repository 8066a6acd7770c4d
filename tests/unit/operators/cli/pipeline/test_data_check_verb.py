"""`vedette data check` as it is typed: what a next step may go on with."""

import yaml
from typer.testing import CliRunner

from operators.cli.main import app
from tests.unit.lifecycle.declared import body, rows


def test_a_refused_file_leaves_no_result_of_an_earlier_one(tmp_path):
    (tmp_path / "logins.yaml").write_text(yaml.safe_dump(body()), encoding="utf-8")
    path, out = tmp_path / "rows.csv", tmp_path / "results" / "check.json"
    words = ["data", "check", str(tmp_path / "logins.yaml"), str(path), "--out", str(out)]
    rows(200).to_csv(path, index=False)
    assert CliRunner().invoke(app, words).exit_code == 0
    assert out.is_file()
    rows(200).assign(failures="many").to_csv(path, index=False)
    assert CliRunner().invoke(app, words).exit_code == 1
    assert not out.exists()
