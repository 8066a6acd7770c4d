"""`make load` against guarded doors: what it shows comes from files, is checked before anything starts, and counts before variables."""

import pytest
from pydantic import ValidationError

from loadtests import run
from loadtests.settings import LoadSettings
from tests.fakes.serving.authority import Authority

HOST = ("--host", "https://127.0.0.1:1")


@pytest.fixture
def files(tmp_path):
    """Paths of a token, a CA, a client certificate and its key, by their options."""
    authority = Authority()
    certificate, key = authority.issue(client=True).write(tmp_path).paths
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "token").write_text("a.b.c\n")
    names = {"--token-file": tmp_path / "token", "--ca": tmp_path / "ca.pem", "--cert": certificate, "--key": key}
    return {option: str(path) for option, path in names.items()}


def settings(*words):
    return run.for_guarded_doors(run._parser().parse_args(words))


def test_files_become_settings_of_the_users_and_no_variable_counts_before_them(files):
    found = settings(*HOST, *(word for pair in files.items() for word in pair))
    assert {k: v for k, v in found.items() if v is not None} == {
        "VEDETTE_TOKEN_FILE": files["--token-file"],
        "VEDETTE_LOAD_CA": files["--ca"],
        "VEDETTE_LOAD_CERT": files["--cert"],
        "VEDETTE_LOAD_KEY": files["--key"],
    }
    assert {k for k, v in found.items() if v is None} == {"VEDETTE_TOKEN", "VEDETTE_API_KEY", "VEDETTE_API_KEY_FILE"}


def test_without_options_the_variables_count_as_they_are(files):
    assert settings(*HOST) == {}
    assert settings(*HOST, "--ca", files["--ca"]) == {"VEDETTE_LOAD_CA": files["--ca"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            ["--token-file", "{--token-file}"], "--token-file without --host", id="a server of its own is not guarded"
        ),
        pytest.param(["--host", "http://127.0.0.1:1", "--ca", "{--ca}"], "begins with https://", id="TLS without https"),
        pytest.param([*HOST, "--key", "{--key}"], "--key without --cert", id="a key without its certificate"),
        pytest.param([*HOST, "--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem", id="no such file"),
        pytest.param([*HOST, "--cert", "{--ca}", "--key", "{--key}"], "a key that fits the certificate", id="another's key"),
        pytest.param([*HOST, "--ca", "{--token-file}"], "expected PEM", id="no PEM"),
        pytest.param([*HOST, "--api-key-file", "{--ca}"], "not one word", id="no secret"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_starts(files, capsys, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "end_in_order", lambda: None)  # it would handle SIGTERM of the tests
    words = [word.format_map(files) if word.startswith("{") else word for word in words]
    assert run.main(["--shape", "spike", "--doors", "http", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("option", ["--token", "--api-key"])
def test_no_option_takes_a_secret_itself_not_even_as_another_s_beginning(option):
    with pytest.raises(SystemExit):
        run._parser().parse_args([*HOST, option, "a.b.c"])


def test_models_are_named_with_commas_each_once(monkeypatch):
    monkeypatch.setenv("VEDETTE_LOAD_MODEL", "flows, dns")
    assert LoadSettings().models == ("flows", "dns")
    for wrong in ("", "flows,", "flows,flows"):
        with pytest.raises(ValidationError, match="expected a model, or several"):
            LoadSettings(model=wrong)
