"""The texts of an audit package: its README, and verify.py, which is joined from two modules."""

from pathlib import Path
from typing import Final

README: Final = """An audit package of Vedette, a service that judges security events (alert, investigate, benign).

What is here: records of answers that the service gave, what people did about its models in the same time, and
proofs that nobody has changed either since. You need Python 3.8 or later and nothing else. No network is
used.

1. Check everything:

       python3 -I verify.py

   It ends with `sound`, or names the first record that is not as it was written, and what was done to it:
   changed, removed, inserted, moved, duplicated, cut off, taken from elsewhere; or a checkpoint, tombstone or
   file that was forged or is missing.

2. It prints the public keys that it believed. The package itself says which, so compare them with a key that
   you were given by another way, or say yourself which one to believe:

       python3 -I verify.py --key NAME+ID+KEY

   Without that step a forger could have made the whole package, with a key of his own.
   keys/revoked.txt lists keys that may not sign after a time. If you know of others that were stolen, put
   them into a file of the same form and add --revoked FILE.

3. Read: audit/segment-*.jsonl are whole segments of the log, one record a line. Where only some records were
   exported, they are in records/: the first line of a file is the checkpoint, every other line holds one
   `record`, its `index` in the segment, and its proof. acts/ holds in the same form who did what to these
   models, when and why. bundles/ says what the models were.

What it proves: each record was in the log when the checkpoint over it was signed (`time_us` in the
checkpoint), and is unchanged. Whole segments prove besides that no record between is missing. Chosen records
do not prove that there were no others.
What it cannot prove: that what was recorded was true; that the owner of the key did not sign something else
as well, unless an anchor outside, or another replica's checkpoint, says so (anchors.jsonl).

Files: manifest.json lists every file with its SHA-256; manifest.note is the signed digest of the manifest.
audit/chain has the signed checkpoints (C2SP signed notes over RFC 9162 Merkle trees), the stored leaf hashes,
and tombstones of segments that retention removed.
"""
_SCRIPT: Final = Path(__file__).with_name("script")
_BEGIN, _END = "from lifecycle.governance.export.script.proofs import (\n", ")\n"


def script() -> str:
    """The text of verify.py: the proofs, then the checks that use them, in one file that imports only the standard library."""
    proofs = (_SCRIPT / "proofs.py").read_text(encoding="utf-8")
    package = (_SCRIPT / "package.py").read_text(encoding="utf-8")
    begin = package.index(_BEGIN)
    end = package.index(_END, begin) + len(_END)
    above = [
        line for line in package[:begin].splitlines() if line.startswith(("import ", "from ")) and "__future__" not in line
    ]
    first, rest = proofs.split("import base64\n", 1)
    imports = [line for line in above if line not in rest]
    plain = sorted(
        [
            *(line for line in imports if line.startswith("import")),
            "import base64",
            "import hashlib",
            "import json",
            "import re",
        ]
    )
    rest = rest.replace("import hashlib\nimport json\nimport re\n", "", 1)
    return first + "\n".join([*plain, ""]) + rest.rstrip("\n") + "\n" + package[end:]
