"""The prediction log against limits that the operating system itself enforces."""

import subprocess
import sys

import pytest

from serving.audit.reader import read_records

pytestmark = pytest.mark.integration

LIMITED = """
import resource, sys, time
from pathlib import Path
from serving.audit.writer import SegmentWriter
from tests.fakes.serving.records import record

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
writer = SegmentWriter(Path(sys.argv[1]), segment_bytes=1 << 20, segments=0, queue=10_000)
for i in range(200):
    writer.append(record(receipt=f"a{i:04d}"))
while writer.written + writer.dropped < 200:
    time.sleep(0.01)
lost = writer.dropped
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for i in range(50):
    writer.append(record(receipt=f"b{i:04d}"))
writer.close()
print(writer.written, writer.dropped, lost)
"""

CRASHED = """
import os, sys, time
from pathlib import Path
from serving.audit.writer import SegmentWriter
from tests.fakes.serving.records import record

writer = SegmentWriter(Path(sys.argv[1]), segment_bytes=1 << 20, segments=0, queue=10_000)
for i in range(100):
    writer.append(record(receipt=f"a{i:04d}"))
while writer.written < 100:
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""


def test_a_file_that_may_not_grow_costs_counted_records_and_no_torn_line(tmp_path):
    run = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    written, dropped, lost = map(int, run.stdout.split())
    assert (written + dropped, lost) == (250, dropped)
    assert 0 < lost < 200
    receipts = [r.receipt for r in read_records(tmp_path)]
    assert len(receipts) == written
    assert receipts[-50:] == [f"b{i:04d}" for i in range(50)]


def test_a_killed_process_leaves_what_it_had_written(tmp_path):
    run = subprocess.run([sys.executable, "-c", CRASHED, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert run.returncode == -9
    assert [r.receipt for r in read_records(tmp_path)] == [f"a{i:04d}" for i in range(100)]
