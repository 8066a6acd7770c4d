"""What `rules check` says of a folder is what `bundle create` puts into a bundle, and what show and verify say of it."""

import json
import os
from pathlib import Path

import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from operators.cli.main import app
from serving.rules.files import find_rule_files

RULE = """
title: {title}
id: {id}
level: high
logsource: {source}
detection: {{s: {{Image|endswith: cmd.exe}}, condition: s{more}}}
"""
TREE = os.environ.get("VEDETTE_SIGMA_RULES")
"""A folder of public SIGMA rules, e.g. a clone of SigmaHQ/sigma or its `rules*` folders."""


def rule(number, source="{product: windows, category: process_creation}", more=""):
    return RULE.format(title=f"rule {number}", id=f"5a6e1e16-07de-48d8-8aae-faa766c05e{number:02}", source=source, more=more)


@pytest.fixture
def folder(tmp_path):
    rules = tmp_path / "rules"
    (rules / "windows" / "deep").mkdir(parents=True)
    (rules / ".git").mkdir()
    (rules / "rules.yaml").write_text("thresholds: [{id: high, when: a > 0.9, severity: high}]")
    (rules / "one.yml").write_text(rule(1))
    (rules / "windows" / "two.yaml").write_text(rule(2))
    (rules / "windows" / "deep" / "three.yml").write_text(rule(3, more=", timeframe: 5m"))
    (rules / "windows" / "deep" / "four.YML").write_text(rule(4, source="{product: linux, service: auditd}"))
    (rules / "windows" / "deep" / "five.yml").write_text(rule(1))
    (rules / "windows" / "bytes.yml").write_bytes(b"title: \xff")
    (rules / "windows" / "README.md").write_text("no rule")
    (rules / ".git" / "config.yml").write_text(rule(9))
    return rules


@pytest.fixture
def model(tmp_path):
    node = helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0)
    tensor = helper.make_tensor_value_info
    tensors = [tensor("x", TensorProto.FLOAT, [None, 2])], [tensor("mean", TensorProto.FLOAT, [None])]
    graph = helper.make_graph([node], "mean", *tensors)
    path = tmp_path / "mean.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


@pytest.fixture
def said(tmp_path, model):
    """What check, create, show and verify say of a folder."""

    def run(*words):
        done = CliRunner().invoke(app, [*map(str, words), "--json"], env={"VEDETTE_STORE_DIR": str(tmp_path / "store")})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return json.loads(done.stdout)

    def of(rules, *more):
        checked = run("rules", "check", rules)
        made = run("bundle", "create", "--onnx", model, "--input", "x=a,b", "--score", "mean", "--rules", rules, *more)
        checked.pop("seconds")
        return checked, made["rules"], run("bundle", "show", "mean")["rules"], run("bundle", "verify", "mean")["rules"]

    return of


def test_every_file_of_every_folder_is_found_and_nothing_else(folder):
    assert list(find_rule_files(folder)) == [
        "one.yml", "rules.yaml", "windows/bytes.yml", "windows/deep/five.yml", "windows/deep/four.YML",
        "windows/deep/three.yml", "windows/two.yaml",
    ]  # fmt: skip


def test_what_is_checked_is_what_is_bundled_and_shown(folder, said):
    checked, *others = said(folder)
    assert (checked["rules"], checked["thresholds"]) == (3, 1)
    assert [(u["file"], u["reason"].split(";")[0]) for u in checked["unsupported"]] == [
        ("windows/bytes.yml", "it is not UTF-8 text"),
        ("windows/deep/five.yml", "its id is the same as that of one.yml"),
        ("windows/deep/three.yml", "it has a timeframe"),
    ]
    assert [u["file"] for u in checked["unreached"]] == ["windows/deep/four.YML"]
    assert others == [checked] * 3


@pytest.mark.heavy
def test_a_bundle_whose_events_are_all_of_one_source_reaches_its_rules_only(folder, said, tmp_path):
    (tmp_path / "more.yaml").write_text("rules: {logsource: {product: linux, service: auditd}}")
    _, made, *_ = said(folder, "--describe", tmp_path / "more.yaml")
    assert [u["file"] for u in made["unreached"]] == ["one.yml", "windows/two.yaml"]


@pytest.mark.heavy
def test_people_see_the_same_lists(folder, said, tmp_path):
    said(folder)
    env = {"VEDETTE_STORE_DIR": str(tmp_path / "store"), "COLUMNS": "200"}
    words = (["rules", "check", str(folder)], ["bundle", "show", "mean"], ["bundle", "verify", "mean"])
    for line in ("3 SIGMA rules and 1 threshold rules", "it has a timeframe", "product linux, service auditd"):
        assert all(line in CliRunner().invoke(app, w, env=env).stdout for w in words)


@pytest.mark.skipif(
    not TREE or not Path(TREE).is_dir(), reason="needs public SIGMA rules: set VEDETTE_SIGMA_RULES to their folder"
)
def test_a_tree_of_public_rules_is_bundled_as_it_is_checked(said):
    checked, *others = said(Path(str(TREE)))
    files = find_rule_files(Path(str(TREE)))
    assert len(files) >= 1000
    assert checked["rules"] + len(checked["unsupported"]) >= len(files)
    assert others == [checked] * 3
