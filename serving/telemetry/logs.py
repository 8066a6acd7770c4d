"""The log on stderr: one JSON object a line for machines, plain text for a person at a terminal.

Answers are not logged here but in the prediction log (serving.audit). A line that is written while a traced request is answered has its
`trace_id`."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

from serving.telemetry.tracing.current import current_trace_id

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """time, level, logger, message; then whatever came in `extra=`; then the exception with its trace, if any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = vars(record).items()  # a leading underscore marks what libraries leave on every record
        line.update(
            {name: value for name, value in given if name not in _OWN and name not in line and not name.startswith("_")}
        )
        if (trace_id := current_trace_id()) is not None:
            line.setdefault("trace_id", trace_id)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """`12:00:00.123 warning serving.app: message`, with the trace below."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a trace if there is one."""
        text = f"{_time(record)[11:23]} {record.levelname.lower()} {record.name}: {record.getMessage()}"
        trace_id = vars(record).get("trace_id") or current_trace_id()
        if trace_id is not None:
            text += f" trace_id={trace_id}"
        return text if not record.exc_info else f"{text}\n{self.formatException(record.exc_info)}"


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Send the log of the whole process to `stream` (stderr), as JSON unless it is a terminal. Calling again replaces."""
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(PlainFormatter() if out.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
