"""No test sees who runs it: not the variables, not the home, not the checkout's store.

`tests.odd_surroundings` runs the suite where all of that is wrong."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from serving.settings import ServingSettings
from tests import odd_surroundings, surroundings

ROOT = Path(__file__).parents[2]


def test_of_a_person_s_variables_none_is_left():
    given = dict.fromkeys((*odd_surroundings.settings(), *odd_surroundings.ODD, "RAY_ADDRESS", "no_proxy"), "theirs")
    assert surroundings.kept({**given, "PATH": "/bin"}).keys() - surroundings.OF_THE_MACHINE - surroundings.FOR_TESTS == {
        "LC_ALL"
    }


def test_what_is_taken_away_is_taken_from_the_process_and_its_children():
    """In a process of its own: libraries that this one has imported set variables of theirs."""
    told = "import os; from tests import surroundings; surroundings.leave(); os.execlp('env', 'env', '-0')"
    given = {**surroundings.kept(os.environ), **odd_surroundings.odd_environment({}), "PYTHONPATH": str(ROOT)}
    seen = subprocess.run([sys.executable, "-c", told], env=given, capture_output=True, text=True, check=True).stdout
    names = {line.partition("=")[0] for line in seen.split("\0") if line}
    assert names <= surroundings.kept(dict.fromkeys(names, "")).keys() | {"HOME", "PYTHONPATH"}


def test_this_process_has_nothing_of_anybody():
    anybodys = {*odd_surroundings.settings(), *odd_surroundings.ODD} - surroundings.FOR_TESTS - surroundings.OF_THE_MACHINE
    assert {n for n in anybodys if not n.startswith(surroundings.PREFIXES)} & os.environ.keys() <= {"HOME", "PYTHONPATH"}
    assert ServingSettings() == ServingSettings.model_construct(), "no setting is anybody's"


@pytest.mark.parametrize(("arguments", "room", "expected"), [
    pytest.param(["tests/unit", "tests/docs"], 0, True, id="the quick tests write into memory"),
    pytest.param(["tests/unit/test_surroundings.py::test_x[a]"], 0, True, id="one of them too"),
    pytest.param(["tests/unit", "tests/integration"], 0, False, id="servers write to the disk"),
    pytest.param(["tests"], 0, False, id="a run of all tests writes to the disk"),
    pytest.param([], 0, False, id="a run that names nothing is one of all tests"),
    pytest.param(["tests/unit"], 1 << 60, False, id="where memory is short the disk is used"),
])  # fmt: skip
def test_where_files_of_a_run_are_written(arguments, room, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert surroundings.in_memory(arguments, tmp_path, room) == (tmp_path if expected else None)
    assert surroundings.in_memory(arguments, tmp_path / "none", room) is None


def test_the_home_is_empty_and_has_no_kubeconfig():
    assert Path.home() != Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert not (Path.home() / ".kube").exists()
    assert "KUBECONFIG" not in os.environ


def test_the_current_folder_is_empty_and_not_the_checkout():
    assert list(Path.cwd().iterdir()) == []
    assert ROOT not in (Path.cwd(), *Path.cwd().parents)
    assert not ServingSettings().store_dir.exists()


def test_the_odd_run_sets_every_setting_but_what_is_meant_for_tests():
    names = set(odd_surroundings.settings())
    assert {"VEDETTE_STORE_DIR", "VEDETTE_OPERATOR_KUBECONFIG", "VEDETTE_LOAD_MODEL"} <= names
    odd = odd_surroundings.odd_environment({"VEDETTE_DATA_DIR": "/data"})
    assert odd["VEDETTE_DATA_DIR"] == "/data"
    assert {odd[name] for name in names - surroundings.FOR_TESTS} == {odd_surroundings.NONSENSE}


def test_a_tripwire_remembers_who_asks():
    import socket

    wire = odd_surroundings.Tripwire(0)
    try:
        with socket.create_connection(("127.0.0.1", wire.port)) as asker:
            assert asker.recv(1) == b"", "hung up on"
        assert wire.asked == 1
    finally:
        wire.close()
