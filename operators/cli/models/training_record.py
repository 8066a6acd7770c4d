"""Records in the log of acts who trained a bundle."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.models.bundle import Bundle
    from serving.settings import ServingSettings


def record_training(bundle: "Bundle", settings: "ServingSettings") -> None:
    """Put on record who trained a bundle: that person may not approve it."""
    from operators.cli.acts import record_act

    lineage = bundle.manifest.lineage
    evidence = {"data_digest": lineage.data_digest, "code_commit": lineage.code_commit} if lineage else {}
    if run := os.environ.get("VEDETTE_PIPELINE_RUN"):
        evidence["pipeline_run"] = run
    record_act(settings, "bundle.train", f"bundle/{bundle.digest}", f"detector {bundle.manifest.name}", evidence)
