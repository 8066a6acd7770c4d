"""Stages: how many users there are when."""

import subprocess
import sys


def test_stages_follow_each_other_and_end():
    # In a process of its own: importing Locust replaces the standard library's sockets.
    program = """
from loadtests.shapes import STAGES, stage_at
assert STAGES.keys() == {"steps", "spike"}
for stages in STAGES.values():
    ends = [s.until_s for s in stages]
    assert ends == sorted(set(ends)) and all(s.users > 0 and s.per_s > 0 for s in stages)
    assert [stage_at(stages, e - 0.5) for e in ends] == list(stages)
    assert stage_at(stages, ends[-1]) is None
    assert stages[-1].users == stages[0].users
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
