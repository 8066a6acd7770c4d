"""What of a dvc.yaml is understood, and how what is not is refused."""

from pathlib import Path

import pytest

from lifecycle.pipeline.declaration.dvc_yaml import read_pipeline
from lifecycle.pipeline.declaration.graph import graph_of
from lifecycle.pipeline.declaration.stages import OutputSpec, declared
from lifecycle.pipeline.errors import PipelineFileError
from lifecycle.pipeline.project import Project


def read(folder: Path, text: str, **files: str):
    (folder / "dvc.yaml").write_text(text, encoding="utf-8")
    for name, body in files.items():
        (folder / name.replace("__", ".")).write_text(body, encoding="utf-8")
    return read_pipeline(folder, folder)


def test_a_whole_stage(tmp_path):
    text = """
stages:
  train:
    desc: words
    meta: {any: thing}
    wdir: models
    cmd: ["one", "two"]
    deps: [../data, ./code.py]
    params: [lr, "net.depth", {other.yaml: [x]}, {whole.json: }]
    outs: [model, {weights: {cache: false, persist: true, desc: w}}]
    metrics: [{m.json: {cache: false}}]
    plots: [{p.csv: {x: epoch, title: t}}]
    frozen: true
"""
    stage = read(tmp_path, text).stages["train"]
    at = tmp_path / "models"
    assert stage.commands == ("one", "two")
    assert (stage.folder, stage.is_frozen, stage.description) == (at, True, "words")
    assert [(dep.written, dep.at) for dep in stage.deps] == [("../data", tmp_path / "data"), ("./code.py", at / "code.py")]
    assert {spec.path.written: spec.keys for spec in stage.params} == {
        "params.yaml": ("lr", "net.depth"),
        "other.yaml": ("x",),
        "whole.json": (),
    }
    assert stage.outs == (
        OutputSpec(declared("model", at)),
        OutputSpec(declared("weights", at), is_cached=False, is_persistent=True),
        OutputSpec(declared("m.json", at), "metrics", is_cached=False),
        OutputSpec(declared("p.csv", at), "plots"),
    )


def test_lines_of_one_command_text_are_commands_of_their_own(tmp_path):
    stage = read(tmp_path, "stages: {a: {cmd: 'one\n\n  two'}}").stages["a"]
    assert stage.commands == ("one", "two")


@pytest.mark.parametrize(
    ("written", "params", "filled"),
    [
        pytest.param("train ${lr}", "lr: 0.1", "train 0.1", id="a value of params.yaml"),
        pytest.param("${net.sizes[1]} ${net.sizes.0}", "net: {sizes: [8, 16]}", "16 8", id="within mappings and lists"),
        pytest.param("x ${flag}", "flag: true", "x true", id="a truth value is written as YAML does"),
        pytest.param("x ${own.name}", "lr: 1", "x here", id="a value of vars"),
        pytest.param("x ${far}", "lr: 1", "x away", id="a value of a file of vars"),
        pytest.param(r"echo \${HOME} ${lr}", "lr: 1", "echo ${HOME} 1", id="a backslash keeps a template from being filled"),
        pytest.param("echo $HOME", "lr: 1", "echo $HOME", id="a variable of the shell is none"),
    ],
)
def test_templates(tmp_path, written, params, filled):
    text = f"vars: [{{own: {{name: here}}}}, 'more.json:far']\nstages: {{a: {{cmd: '{written}'}}}}"
    pipeline = read(tmp_path, text, params__yaml=params, more__json='{"far": "away", "near": 1}')
    assert pipeline.stages["a"].command == filled


def test_a_stage_may_have_vars_of_its_own_and_templates_in_paths(tmp_path):
    text = "stages: {a: {vars: [{d: data}], cmd: ls, wdir: '${w}', deps: ['${d}/x'], outs: [{'${d}/y': {cache: false}}]}}"
    stage = read(tmp_path, text, params__yaml="w: sub").stages["a"]
    assert stage.deps[0].at == tmp_path / "sub/data/x"
    assert stage.outs[0].path.written == "data/y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("stages: [", "is not YAML", id="no YAML"),
        pytest.param("- a", "expected a mapping", id="a list"),
        pytest.param("stages: {a: {cmd: ls}, a: {cmd: ls}}", "'a' stands twice", id="a stage twice"),
        pytest.param("stages: {a: {deps: [x]}}", "cmd: expected a command", id="no command"),
        pytest.param("stages: {a: {cmd: ''}}", "cmd: expected a command", id="an empty command"),
        pytest.param("stages: {'a:b': {cmd: ls}}", "letters, digits", id="a name with a colon"),
        pytest.param("stages: {1: {cmd: ls}}", "letters, digits", id="a name that is a number"),
        pytest.param("stages: {a: {cmd: ls, outz: [x]}}", "outz: not understood", id="a field that there is not"),
        pytest.param("stages: {a: {foreach: [1], do: {cmd: ls}}}", "foreach is not understood; write each", id="foreach"),
        pytest.param("stages: {a: {matrix: {x: [1]}, cmd: ls}}", "matrix is not understood", id="matrix"),
        pytest.param("datasets: []\nstages: {}", "datasets: not understood", id="datasets"),
        pytest.param("stages: {a: {cmd: ls, deps: ['s3://b/x']}}", "only files of this machine", id="an address"),
        pytest.param("stages: {a: {cmd: ls, deps: x}}", "deps: expected a list", id="one dependency that is no list"),
        pytest.param("stages: {a: {cmd: ls, deps: [1]}}", "expected a path, found 1", id="a number for a path"),
        pytest.param(
            "stages: {a: {cmd: ls, outs: [{x: {cache: maybe}}]}}", "cache: expected true or false", id="no truth value"
        ),
        pytest.param("stages: {a: {cmd: ls, outs: [{x: {checkpoint: true}}]}}", "checkpoint: not understood", id="checkpoint"),
        pytest.param(
            "stages: {a: {cmd: 'x ${lr}'}}", "${lr} is not known; params.yaml and vars have: none", id="no such value"
        ),
        pytest.param("vars: [{m: {a: 1}}]\nstages: {a: {cmd: 'x ${m}'}}", "is a mapping; name one value", id="no one value"),
        pytest.param("vars: [{m: 1}, {m: 2}]\nstages: {}", "m is set twice", id="a value set twice"),
        pytest.param("vars: [gone.yaml]\nstages: {}", "no such file of parameters", id="a file of vars that is not there"),
    ],
)
def test_what_is_refused(tmp_path, text, said):
    with pytest.raises(PipelineFileError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        pytest.param("{a: {cmd: ls, outs: [x]}, b: {cmd: ls, outs: [./x]}}", "output of stage a and of b", id="one output, two stages"),
        pytest.param("{a: {cmd: ls, outs: [x, sub/../x]}}", "output of stage a and of a", id="one output twice"),
        pytest.param("{a: {cmd: ls, outs: [x]}, b: {cmd: ls, outs: [x/y]}}", "lies within", id="an output within another"),
        pytest.param("{a: {cmd: ls, outs: [../x]}}", "outside of the project", id="an output outside"),
        pytest.param("{a: {cmd: ls, outs: [/tmp/x]}}", "outside of the project", id="an output at an absolute place outside"),
        pytest.param("{a: {cmd: ls, outs: [out/x]}}", "link that leads out", id="an output behind a link that leads out"),
        pytest.param("{a: {cmd: ls, outs: [.]}}", "outside of the project", id="the project as an output"),
        pytest.param("{a: {cmd: ls, outs: [.dvc/x]}}", "which no stage may replace", id="an output in DVC's folder"),
        pytest.param("{a: {cmd: ls, outs: [dvc.yaml]}}", "which no stage may replace", id="dvc.yaml as an output"),
        pytest.param("{a: {cmd: ls, deps: [x], outs: [x]}}", "cannot read what it makes", id="its own output"),
        pytest.param("{a: {cmd: ls, deps: [d], outs: [d/x]}}", "cannot read what it makes", id="a folder with its own output"),
        pytest.param("{a: {cmd: ls, deps: [.]}}", "holds dvc.lock", id="the whole project as a dependency"),
        pytest.param("{a: {cmd: ls, deps: [x, ./x]}}", "stands twice", id="a dependency twice"),
        pytest.param(
            "{a: {cmd: ls, deps: [c], outs: [a]}, b: {cmd: ls, deps: [a/x], outs: [b]}, c: {cmd: ls, deps: [b], outs: [c]}}",
            "circle: a -> b -> c -> a",
            id="a circle",
        ),
    ],
)  # fmt: skip
def test_stages_that_do_not_fit_together(tmp_path, stages, said):
    (tmp_path / "elsewhere").mkdir()
    project = tmp_path / "project"
    project.mkdir()
    (project / "out").symlink_to(tmp_path / "elsewhere")
    pipeline = read(project, f"stages: {stages}")
    with pytest.raises(PipelineFileError) as refused:
        graph_of(pipeline)
    assert said in str(refused.value)


def test_stages_come_after_those_that_make_what_they_read(tmp_path):
    stages = """
  last: {cmd: ls, deps: [made]}
  within: {cmd: ls, deps: [made/part]}
  around: {cmd: ls, deps: [sub], params: [{sub/params.json: [k]}]}
  maker: {cmd: ls, deps: [source], outs: [made, sub/out, sub/params.json]}
  held: {cmd: ls, deps: [made], frozen: true}
"""
    graph = graph_of(read(tmp_path, f"stages: {stages}"))
    assert graph.order == ("maker", "held", "last", "within", "around")
    assert graph.before["around"] == {"maker"}
    assert graph.before["held"] == frozenset()
    assert [dep.written for dep in graph.sources["maker"]] == ["source"]
    assert graph.sources["around"] == ()
    assert graph.needed_for(["within"]) == ("maker", "within")
    with pytest.raises(PipelineFileError, match="no stage lost; there are: maker, held"):
        graph.needed_for(["lost"])


def test_patterns_of_files_to_ignore_are_refused_as_digests_would_differ(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    (tmp_path / ".dvcignore").write_text("# words\n\n")
    Project(tmp_path).close()
    (tmp_path / ".dvcignore").write_text("# words\n*.tmp\n")
    with pytest.raises(PipelineFileError, match=r"\*\.tmp.* not understood"):
        Project(tmp_path)


def test_a_folder_without_a_pipeline_says_how_to_begin(tmp_path):
    with pytest.raises(PipelineFileError, match="vedette pipeline init"):
        Project(tmp_path)
