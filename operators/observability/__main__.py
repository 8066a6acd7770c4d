"""`python -m operators.observability [MANIFESTS] [--runbooks URL]`: writes the alert rules and the dashboards."""

import argparse
from pathlib import Path

from operators.observability.alerts.alert import RUNBOOKS
from operators.observability.manifests import files


def main() -> None:
    """Write them."""
    asked = argparse.ArgumentParser(prog="python -m operators.observability", description=__doc__)
    asked.add_argument("manifests", nargs="?", type=Path, default=Path("manifests"), help="the folder with `components`")
    asked.add_argument("--runbooks", default=RUNBOOKS, help="where the pages of runbooks are, e.g. the URL of a wiki")
    options = asked.parse_args()
    for path, text in files(options.runbooks).items():
        target: Path = options.manifests / "components" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
