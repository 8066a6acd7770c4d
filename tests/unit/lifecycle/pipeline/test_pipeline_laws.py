"""Laws of small random pipelines under random edits, against a model that keeps everything in memory."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import laws
from tests.fakes.pipelines import PipelineFolder

SOURCES = ("a", "b")
TEXTS = st.sampled_from(["", "x", "xy", "yx", "long\n"])


@dataclass
class Stage:
    """Joins its inputs, all or only the first byte of each, after a word of its own. Its output may be a file or in a folder."""

    name: str
    inputs: tuple[str, ...]
    word: str
    is_cut: bool
    in_folder: bool

    @property
    def out(self):
        return f"{self.name}.d" if self.in_folder else f"{self.name}.out"

    @property
    def made(self):
        return f"{self.out}/file" if self.in_folder else self.out

    def spec(self, reads):
        join = "; ".join([f"printf %s '{self.word}'", *(f"head -c1 {i}" if self.is_cut else f"cat {i}" for i in reads)])
        folder = f"mkdir {self.out}; " if self.in_folder else ""
        return {
            "cmd": f"{folder}({join}) > {self.made}",
            "deps": sorted({i.partition("/")[0] for i in reads}),
            "outs": [self.out],
        }

    def content(self, texts):
        return self.word + "".join(text[:1] if self.is_cut else text for text in texts)


@dataclass
class Model:
    """What the folder should hold, and what should run."""

    stages: list[Stage]
    sources: dict[str, str]
    harmed: set[str] = field(default_factory=set)
    recorded: dict[str, tuple] = field(default_factory=dict)
    seen: set[tuple] = field(default_factory=set)

    def runs(self):
        """Stage -> outcome, and the content of each output afterwards."""
        texts, outcomes = dict(self.sources), {}
        for stage in self.stages:
            key = (stage.name, stage.word, stage.is_cut, stage.in_folder, stage.inputs, tuple(texts[i] for i in stage.inputs))
            if self.recorded.get(stage.name) != key or stage.name in self.harmed:
                outcomes[stage.name] = "restored" if key in self.seen else "ran"
            self.seen.add(key)
            self.recorded[stage.name] = key
            texts[stage.name] = stage.content([texts[i] for i in stage.inputs])
        self.harmed.clear()
        return outcomes, texts


@st.composite
def pipelines(draw):
    stages = []
    for number in range(draw(st.integers(1, 4))):
        known = [*SOURCES, *(stage.name for stage in stages)]
        inputs = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        stages.append(Stage(f"s{number}", tuple(inputs), draw(st.sampled_from("pq")), draw(st.booleans()), draw(st.booleans())))
    return Model(stages, {name: draw(TEXTS) for name in SOURCES})


EDITS = st.lists(st.tuples(st.sampled_from(["source", "word", "harm", "run"]), st.integers(0, 9), TEXTS), max_size=6)


@pytest.mark.heavy
@laws.long(100)
@given(pipelines(), EDITS)
def test_exactly_what_an_effective_change_reaches_runs_and_then_all_is_up_to_date(model, edits):
    with tempfile.TemporaryDirectory() as place:
        folder = PipelineFolder(Path(place))
        _write(folder, model)
        for kind, number, text in [*edits, ("run", 0, "")]:
            stage = model.stages[number % len(model.stages)]
            if kind == "source":
                model.sources[SOURCES[number % len(SOURCES)]] = text
            elif kind == "word":
                stage.word = text[:1] or "p"
            elif kind == "harm" and (folder.path / stage.made).exists() and folder.read(stage.made) != text:
                folder.write(stage.made, text)
                model.harmed.add(stage.name)
            _write(folder, model)
            if kind == "run":
                expected, texts = model.runs()
                assert folder.outcomes() == expected
                assert {s.name: folder.read(s.made) for s in model.stages} == {s.name: texts[s.name] for s in model.stages}
                assert folder.why() == {}


def _write(folder, model):
    for name, text in model.sources.items():
        folder.write(name, text)
    places = {name: name for name in SOURCES} | {stage.name: stage.made for stage in model.stages}
    folder.declare({stage.name: stage.spec([places[i] for i in stage.inputs]) for stage in model.stages})
