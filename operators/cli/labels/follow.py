"""`vedette label follow`: labels out of a Kafka topic."""

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from operators.cli.audit.archive_options import Archive, settings_of
from operators.cli.console import CommandError, Json, errors, page, print_json
from operators.cli.labels.options import Unseen, label_desk
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from operators.control.labels.topic_follower import FollowCounts, LabelTopic, TopicMessage

_JOINING_S: Final = 10.0
"""A consumer that joins its group hears nothing for some seconds."""


def follow(
    bootstrap: Annotated[str, typer.Option(help="Servers of Kafka, HOST:PORT[,HOST:PORT].")],
    topic: Annotated[str, typer.Option(help="Topic with one label a message, JSON as for `vedette label serve`.")],
    group: Annotated[str, typer.Option(help="Consumer group; it continues at its last position.")] = "vedette-labels",
    dead_letters: Annotated[
        str | None,
        typer.Option(
            help="Destination of messages that are not labels: a topic, or a file *.jsonl (default: labels-rejected.jsonl in the store)."
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", help="Property of librdkafka, NAME=VALUE, e.g. security.protocol=SSL; may be repeated."),
    ] = None,
    option_files: Annotated[
        list[str] | None,
        typer.Option(
            "--option-file", help="Secret property of librdkafka, NAME=FILE, e.g. sasl.password=/run/password; may be repeated."
        ),
    ] = None,
    drain_s: Annotated[
        float | None, typer.Option("--drain", min=0.1, help="Stop when no message has come for N seconds (default: never).")
    ] = None,
    is_unseen_taken: Unseen = False,
    archive: Archive = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Accept labels from a Kafka topic until Ctrl-C. The position in the topic is recorded only after the labels are durable."""
    try:
        from operators.control.labels.kafka_topic import DeadLetterFile, DeadLetterTopic, KafkaTopic
    except ImportError as problem:
        raise CommandError("Kafka needs the extra `kafka`: pip install 'vedette[operators,kafka]'") from problem
    from operators.control.labels.topic_follower import DeadLetters, TopicFollower

    chosen = _chosen(options or (), option_files or ())
    named = dead_letters or str(settings_of(store_dir).store_dir / "labels-rejected.jsonl")
    is_file = named.endswith(".jsonl")
    dead: DeadLetters = DeadLetterFile(Path(named)) if is_file else DeadLetterTopic(bootstrap, named, chosen)
    desk = label_desk(store_dir, archive, "kafka", is_unseen_taken=is_unseen_taken)
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())

    with KafkaTopic(bootstrap, topic, group, chosen) as source:
        errors.print(
            f"labels are read from {source.label}; messages that are not labels go to {named}", markup=False, soft_wrap=True
        )
        heard = _Heard(source)
        follower = TopicFollower(heard, desk, dead, told=lambda counts: errors.print(_words(counts)), wait=told.wait)
        follower.run(lambda: told.is_set() or (drain_s is not None and heard.is_quiet(drain_s)))
    counts = follower.counts
    if as_json:
        print_json(
            {"given": counts.given, "corrected": counts.corrected, "repeated": counts.repeated, "set_aside": counts.dead}
        )
    else:
        page().print(_words(counts))


class _Heard:
    """A topic of which it is known how long nothing came."""

    def __init__(self, topic: "LabelTopic") -> None:
        self._topic = topic
        self._last_s: float | None = None
        self._begun_s = time.monotonic()

    def is_quiet(self, quiet_s: float) -> bool:
        """Whether nothing came for so long."""
        if self._last_s is None:
            return time.monotonic() - self._begun_s > max(quiet_s, _JOINING_S)
        return time.monotonic() - self._last_s > quiet_s

    def poll(self, wait_s: float) -> "Sequence[TopicMessage]":
        """See the port."""
        found = self._topic.poll(wait_s)
        if found:
            self._last_s = time.monotonic()
        return found

    def commit(self, messages: "Sequence[TopicMessage]") -> None:
        """See the port."""
        self._topic.commit(messages)


def _words(counts: "FollowCounts") -> str:
    return (
        f"{counts.given:,} given, {counts.corrected:,} corrected, {counts.repeated:,} known already, {counts.dead:,} set aside"
    )


def _chosen(options: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Properties of librdkafka. Other people on the machine can read arguments, so those hold no secret. Raises CommandError."""
    from serving.files.option_files import SECRET, OptionFileError, with_option_files

    plain = dict(_option("--option", text, "NAME=VALUE, e.g. security.protocol=SSL") for text in options)
    secret = dict(_option("--option-file", text, "NAME=FILE, e.g. sasl.password=/run/password") for text in files)
    if shown := sorted(SECRET & plain.keys()):
        raise CommandError(
            f"--option {shown[0]}: an argument can be read by others on this machine; write it to a file, and give "
            f"--option-file {shown[0]}=FILE"
        )
    try:
        return with_option_files(plain, {name: Path(file) for name, file in secret.items()})
    except OptionFileError as problem:
        raise CommandError(str(problem)) from problem


def _option(option: str, text: str, form: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not name or not mark:
        raise CommandError(f"{option}: write {form}")
    return name, value
