"""A file that an option names and that cannot be used: one message with its name, the reason and what is expected, in every verb."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from operators.cli import main
from operators.cli.console import CommandError
from tests.fakes.operator.control_place import Place, document, revision

VERBS = [
    pytest.param(
        ["rollout", "start", "ids", "--version", "2", "--bundle", "sha256:" + "0" * 64, "--policy"],
        "a RolloutPolicy",
        id="rollout start",
    ),
    pytest.param(["experiment", "start", "ids", "--file"], "an experiment", id="experiment start"),
    pytest.param(["scale", "simulate", "--spec"], "scaling", id="scale simulate"),
]


@pytest.mark.parametrize(("content", "says"), [
    pytest.param(None, "no such file or directory", id="not there"),
    pytest.param(b"\xff\xfe\x00", "is not UTF-8 text", id="no text"),
    pytest.param(b"a: [", "cannot be read as YAML", id="no YAML"),
    pytest.param(b"a: 2026-99-99", "cannot be read as YAML", id="a date that there is not"),
    pytest.param(b"- 1", "holds no fields", id="a list"),
    pytest.param(b"", "holds no fields", id="empty"),
])  # fmt: skip
@pytest.mark.parametrize(("words", "expected"), VERBS)
def test_a_file_that_cannot_be_used(
    words: list[str], expected: str, content: bytes | None, says: str, place: Place, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(place.store_dir))
    place.folder.change("ids", lambda _: document(revision(1)))
    if content is not None:
        (tmp_path / "given.yaml").write_bytes(content)
    done = CliRunner().invoke(main.app, [*words, "given.yaml"])
    assert isinstance(done.exception, CommandError), done.exception
    message = str(done.exception)
    assert message.startswith(f"given.yaml: {says}")
    assert expected in message or says == "cannot be read as YAML"
    assert "Errno" not in message


def test_what_the_system_says_of_a_file_is_told_without_its_number(monkeypatch: pytest.MonkeyPatch, capsys):
    def command() -> None:
        Path("nosuch.onnx").read_bytes()

    with pytest.raises(SystemExit) as ended:
        main.run_command(command)  # type: ignore[arg-type]
    assert ended.value.code == 1
    assert capsys.readouterr().err.strip() == "vedette: nosuch.onnx: no such file or directory"
