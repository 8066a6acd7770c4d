"""`vedette demo approvals`: every promise of the four-eyes path is kept, by the real loop, files, keys and commands, without Ray."""

from operators.cli.demo.approvals import play


def test_two_people_and_one_machine(tmp_path):
    said: list[str] = []
    assert play(tmp_path, said.append) == []
    assert sum("kept" in line for line in said) >= 15, "and each of them was looked at"
