"""Analysts' labels of alerts since a position in the log of labels: the monitor's port, on lifecycle.labels."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from lifecycle.labels.label_log import LabelLine
from lifecycle.monitoring.watch.labelled_alerts import LabelledAlert
from serving.audit.segment_files import open_to_read, segments_with_records


class LabelledAlerts:
    """Reads STORE/labels. A correction is one more word, and counts as one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._decoder = msgspec.json.Decoder(LabelLine)
        self._newest_us: dict[str, int] = {}

    def newest_us(self, model: str) -> int:
        """When an alert of the model was labelled last; 0: never. From any thread. The log is read once for it, then only what is new."""
        return self._newest_us.get(model, 0)

    def learn(self, model: str) -> None:
        """Read the whole log, for `newest_us`. Raises OSError."""
        self.read(model, {})

    def read(self, model: str, position: Mapping[str, int]) -> tuple[list[LabelledAlert], dict[str, int]]:
        """The labels of alerts of a model after this position, in the order of the log, and the position after them. Raises OSError.

        position: bytes read of each segment, by its name. An incomplete last line waits; an invalid line is skipped."""
        found: list[LabelledAlert] = []
        after: dict[str, int] = {}
        for files in segments_with_records(self._folder) if self._folder.is_dir() else []:
            end = position.get(files.stem, 0)
            with open_to_read(files.records) as lines:
                lines.seek(end)
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    end += len(line)
                    alert = self._alert(line, model)
                    if alert is not None:
                        found.append(alert)
            after[files.stem] = end
        newest_us = max((label.time_us for label in found), default=0)
        self._newest_us[model] = max(self._newest_us.get(model, 0), newest_us)
        return found, after

    def _alert(self, line: bytes, model: str) -> LabelledAlert | None:
        try:
            read = self._decoder.decode(line)
        except (ValueError, RecursionError):  # no JSON, no label, or nested without end: verification names it
            return None
        label = read.label
        if label is None or label.model != model or label.selection != "alert" or label.verdict == "unsure":
            return None
        return LabelledAlert(read.time_us, label.verdict == "benign")
