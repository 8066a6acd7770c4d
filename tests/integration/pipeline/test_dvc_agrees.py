"""DVC and Vedette on one project: each takes what the other ran for up to date, and brings back what the other made."""

import pytest

from lifecycle.pipeline.declaration.yaml12 import dump_yaml, load_yaml
from tests.fakes.dvc import Dvc
from tests.fakes.pipelines import PipelineFolder

pytestmark = pytest.mark.integration

STAGES = {
    "split": {
        "cmd": "mkdir -p parts/sub parts/.git && cat in.txt > parts/a && cat in.txt > 'parts/sub/é b' && : > parts/none && echo 1 > m.json",
        "deps": ["in.txt", "tools"],
        "params": ["lr", "net.sizes", {"more.toml": ["deep.key"]}],
        "outs": ["parts"],
        "metrics": [{"m.json": {"cache": False}}],
    },
    "tool": {
        "cmd": ["echo ${net.word} '<<' 0x1F", "cat parts/a > run.sh && chmod +x run.sh && mkdir empty"],
        "deps": ["./parts/sub", "parts/a"],
        "params": [{"params.yaml": None}],
        "outs": ["run.sh", "empty"],
    },
    "last": {
        "wdir": "sub",
        "cmd": "cat ../run.sh > made.txt && echo more >> grows.txt",
        "deps": ["../run.sh", "../parts/sub/é b"],
        "outs": [{"made.txt": {"cache": False}}, {"grows.txt": {"persist": True}}],
    },
    "held": {"cmd": "exit 1", "deps": ["in.txt"], "outs": ["held.txt"], "frozen": True},
}
UP_TO_DATE = "Data and pipelines are up to date."
ODD = [
    "on", "010", "0o17", "1e3", "1e-3", "1_000", "0x1F", "12:30", "~", "", "true", "True", "yes", "1.", "+.5", ".5e3", "-.inf", "0b11",
    "1.5e3", "1__0", "_1", "+1", "09", "1e", "'1'", "y", "NULL", "1.2.3", "1_0.5", "1e16", "0.1e-7", "é",
]  # fmt: skip


def test_each_takes_what_the_other_ran_for_up_to_date_and_brings_back_what_it_made(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    folder, dvc = PipelineFolder(project, STAGES), Dvc(project, tmp_path)
    folder.write("params.yaml", "lr: 1e-3\nnet: {sizes: [1, 2], word: on, odd: ['1e3', '010', 'off', '0o7']}\nlarge: 1e16\n")
    folder.write("more.toml", "[deep]\nkey = 'v'\n")
    folder.write("in.txt", "one\n")
    folder.write("tools/t.py", "code\n")
    folder.write("tools/.git/HEAD", "not read")
    folder.write("sub/x", "")
    folder.write("held.txt", "held\n")
    assert set(folder.outcomes().values()) == {"ran", "frozen"}
    assert UP_TO_DATE in dvc.says("status")
    first = folder.read("dvc.lock")

    folder.write("in.txt", "two\n")
    said = dvc.says("repro")
    assert "Running stage 'split'" in said
    assert folder.why() == {}
    assert folder.outcomes() == {}

    folder.write("in.txt", "one\n")
    said = dvc.says("repro")
    assert "Stage 'split' is cached - skipping run" in said, "DVC brings back what Vedette made"
    assert "Stage 'tool' is cached - skipping run" in said
    assert folder.why() == {}
    assert load_yaml(folder.read("dvc.lock"), "")["stages"]["tool"] == load_yaml(first, "")["stages"]["tool"]

    folder.write("in.txt", "two\n")
    outcomes = folder.outcomes()
    assert outcomes == {"split": "restored", "tool": "restored", "last": "ran"}, "and the other way round"
    assert UP_TO_DATE in dvc.says("status")


def test_yaml_means_the_same_to_both(tmp_path):
    values = [load_yaml(f"k: {text}", "")["k"] for text in ODD]
    assert [f"{type(v).__name__} {v!r}" for v in values] == Dvc(tmp_path, tmp_path).values_of_yaml(ODD)
    texts = [text.strip("'") for text in ODD]
    assert load_yaml(dump_yaml(texts), "") == texts
    read_by_dvc = Dvc(tmp_path, tmp_path).values_of_yaml([dump_yaml([text]).strip().removeprefix("- ") for text in texts])
    assert read_by_dvc == [f"str {text!r}" for text in texts]
