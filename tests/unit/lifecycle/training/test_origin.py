"""By what a bundle names the code that trained it."""

import shutil
import subprocess

import pytest

from lifecycle.training.origin import code_commit
from tests.surroundings import ROOT


def git(folder, *words):
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *names, *words], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return done.stdout.strip()


@pytest.fixture
def installed(tmp_path):
    """A package as pip lays it out, within the checkout of somebody else."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "theirs")
    site = tmp_path / "site-packages"
    (site / "lifecycle" / "training").mkdir(parents=True)
    shutil.copy(ROOT / "lifecycle" / "training" / "origin.py", site / "lifecycle" / "training")
    return site


def test_in_its_checkout_it_is_the_commit(installed):
    git(installed, "add", ".")
    git(installed, "commit", "-q", "-m", "ours")
    assert code_commit(installed) == git(installed, "rev-parse", "HEAD")


def test_within_another_checkout_it_is_the_digest_of_the_sources(installed):
    name, _, digest = code_commit(installed).partition(":")
    assert (name, len(digest)) == ("sources", 64)


def test_other_sources_have_another_digest_and_files_beside_them_do_not_count(installed):
    before = code_commit(installed)
    code_commit.cache_clear()
    (installed / "lifecycle" / "notes.txt").write_text("none of it runs", encoding="utf-8")
    (installed / "numpy").mkdir()
    (installed / "numpy" / "core.py").write_text("x = 1\n", encoding="utf-8")
    assert code_commit(installed) == before
    code_commit.cache_clear()
    (installed / "lifecycle" / "more.py").write_text("x = 1\n", encoding="utf-8")
    assert code_commit(installed) != before
