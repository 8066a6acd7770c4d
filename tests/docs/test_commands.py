"""Commands in the docs can be typed: verbs, options, make targets and files exist."""

import itertools
import re
import shlex

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, commands, name
from tests.docs.verbs import Verb, verbs

WORDS = {v.words: v for v in verbs()}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
SAID = [pytest.param(page, command, id=f"{name(page)}: {command[:70]}") for page in PAGES for command in commands(page)]


def split_pipeline(command: str) -> list[list[str]]:
    """The simple commands of a line, variables before them taken off."""
    parts: list[list[str]] = [[]]
    for token in shlex.split(command, posix=True):
        if token in {"|", "&&", "||", ";", "&"}:
            parts.append([])
        elif parts[-1] or not re.fullmatch(r"[A-Z_]+=.*", token):
            parts[-1].append(token)
    return [p for p in parts if p]


def find_verb(tokens: list[str]) -> tuple[Verb, list[str]]:
    for length in (3, 2, 1):
        verb = WORDS.get(tuple(tokens[:length]))
        if verb is not None:
            return verb, tokens[length:]
    raise AssertionError(f"there is no `vedette {' '.join(tokens[:2])}`")


def check_vedette(tokens: list[str]) -> None:
    if tokens[:1] in (["--help"], ["--version"], ["-h"]):
        return
    verb, rest = find_verb(tokens)
    flags = {flag: o for o in verb.options if not o.is_argument for flag in o.flags}
    arguments, waiting = 0, False
    for token in rest:
        if waiting:
            waiting = False
        elif token.startswith("-") and token != "-":
            flag = token.partition("=")[0]
            assert flag in flags or flag in {"-h", "--help"}, f"`{verb.name}` has no option {flag}; it has {sorted(flags)}"
            waiting = flag in flags and flags[flag].takes_value and "=" not in token
        else:
            arguments += 1
    needed = sum(o.is_needed for o in verb.options if o.is_argument)
    most = sum(o.is_argument for o in verb.options)
    assert needed <= arguments <= most or "--help" in rest, (
        f"`{verb.name}` takes {needed} to {most} arguments, found {arguments}"
    )


@pytest.mark.parametrize(("page", "command"), SAID)
def test_commands_exist(page, command):
    for tokens in split_pipeline(command):
        program = tokens[0].removeprefix(".venv/bin/")
        if program == "vedette":
            check_vedette([t for t in tokens[1:] if t not in {">", "2>&1"}])
        elif program == "make":
            targets = [t for t in tokens[1:] if not t.startswith("-") and "=" not in t]
            assert set(targets) <= TARGETS, f"make has no {set(targets) - TARGETS}"
            for token in tokens[1:]:
                if token.startswith("ARGS=") and targets == ["up"]:
                    check_vedette(["up", *shlex.split(token.removeprefix("ARGS="))])


def verbs_that_are_not_there(text: str) -> list[str]:
    """Commands in backquotes, `vedette NOUN VERB ...` or `vedette NOUN VERB | VERB`, whose words lead to no verb."""
    known = {words[:n] for words in WORDS for n in range(1, len(words) + 1)}
    wrong = []
    for command in re.findall(r"`vedette ([^`]+)`", text):
        tokens = command.split()
        lead = tuple(itertools.takewhile(re.compile("[a-z][a-z-]*").fullmatch, tokens))
        nouns = next((n for n in range(1, len(lead)) if lead[:n] in WORDS), len(lead))
        rest = tokens[len(lead) :]
        others = rest[1::2] if rest[:1] == ["|"] else []
        said = [lead[:nouns], *((*lead[:-1], other) for other in others)]
        wrong += [command for words in said if words and words not in known][:1]
    return wrong


@pytest.mark.heavy
@pytest.mark.parametrize("plane", ["serving", "feature_repo", "lifecycle", "operators", "loadtests"])
def test_verbs_that_code_names_exist(plane):
    files = [p for p in (ROOT / plane).rglob("*.py") if "__pycache__" not in p.parts]
    texts = {str(p.relative_to(ROOT)): verbs_that_are_not_there(p.read_text(encoding="utf-8")) for p in files}
    assert not {path: wrong for path, wrong in texts.items() if wrong}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("as `vedette report fairness` does", [], id="a noun and a verb"),
        pytest.param("`vedette audit`: its verbs", [], id="a noun alone"),
        pytest.param("`vedette train hosts`", [], id="a verb with an argument"),
        pytest.param("`vedette rollout get | status | history`", [], id="several verbs"),
        pytest.param("`vedette fairness`", ["fairness"], id="a verb without its noun"),
        pytest.param("`vedette rollout get | watch`", ["rollout get | watch"], id="one of several that is not there"),
    ],
)
def test_verbs_are_looked_up(text, wrong):
    assert verbs_that_are_not_there(text) == wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_in_the_docs_compiles(page):
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, name(page), "exec")


@pytest.mark.parametrize("verb", [v for v in WORDS.values() if v.words], ids=lambda v: v.name)
def test_every_verb_and_option_says_what_it_is(verb):
    assert verb.says.strip()
    silent = [o.flags for o in verb.options if not o.says.strip()]
    assert not silent, f"`{verb.name}` does not say what {silent} are"


def test_the_page_names_the_verbs_that_print_no_json():
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    said = re.search(r"Every verb takes\s+`--json`, except these: (.+?)\.\s", page, re.DOTALL)
    assert said is not None
    without = {v.name for v in WORDS.values() if v.words and not any("--json" in o.flags for o in v.options)}
    assert set(re.findall(r"`([^`]+)`", said[1])) == without


def test_every_make_target_is_in_the_help():
    helped = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert helped == TARGETS


def test_every_make_target_is_in_the_reference():
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert not [target for target in TARGETS if f"`make {target}`" not in page]
