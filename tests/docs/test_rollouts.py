"""The page on rollouts names every phase, step, verb, verdict and ending there is."""

from typing import get_args

import pytest

from operators.rollout.spec import Step
from operators.rollout.status import FinishedRollout, Phase, VerbRequest, Verdict
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/reference/rollouts.md").read_text(encoding="utf-8")
WORDS = [
    *(str(p) for p in Phase),
    *(str(v) for v in Verdict),
    *(field.alias or name for name, field in Step.model_fields.items()),
    *get_args(VerbRequest.model_fields["verb"].annotation),
    *get_args(FinishedRollout.model_fields["outcome"].annotation),
]


@pytest.mark.parametrize("word", WORDS)
def test_the_page_on_rollouts_names(word: str) -> None:
    assert f"`{word}`" in PAGE
