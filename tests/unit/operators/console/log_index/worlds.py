"""A store with logs of its own, and an index that follows them."""

import msgspec
import numpy as np

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from operators.console.log_index.alert_queries import AlertFilter, AlertQueries
from operators.console.log_index.index_file import IndexFile
from operators.console.log_index.index_follower import LogFollowing
from operators.console.log_index.index_scope import LogScope
from operators.console.log_index.indexed_lines import EntityKeys
from operators.console.log_index.people import People
from operators.console.log_index.record_queries import RecordQueries
from serving.audit.personal.redaction import redact
from serving.audit.personal.subject_keys import SubjectKeys
from serving.messages import Tensor
from tests.fakes.labelled import record
from tests.unit.lifecycle.governance.archive.logs import LogWorld

EVERYTHING = LogScope()


class IndexedStore:
    """clock_s: of the index, for its looks at the archive."""

    def __init__(self, folder, **bounds):
        self.world = LogWorld(folder / "store")
        self.store = self.world.store
        self.file = IndexFile(self.store / "console")
        self.clock_s = 0.0
        self.labels = LabelLog(self.store / "labels", signer=lambda: self.world.signer)
        self.keys = SubjectKeys(self.store / "keys" / "subjects")
        self.following = LogFollowing(
            self.store,
            self.file,
            lambda: ArchivePlace(str(self.store / "archive")),
            lambda model, version: EntityKeys(("host",), names_person=True),
            now_s=lambda: self.clock_s,
            **bounds,
        )
        self.alerts, self.records = AlertQueries(self.file), RecordQueries(self.file)

    def look(self):
        self.clock_s += 3600.0
        return self.following.catch_up()

    def write(self, *records, log="1-aa", is_open=True):
        return self.world.write(*records, log=log, is_open=is_open)

    def act(self, time_us, action, subject, actor="ann"):
        acts = ActsLog(self.store / "governance", signer=lambda: self.world.signer, now_us=self.world.now)
        acts.record(Act(time_us=time_us, actor=actor, action=action, subject=subject, reason="because"))

    def label(self, event, verdict, time_us, analyst="ada", model="flows"):
        self.labels.give(
            Label(label_id=f"{event}-{time_us}", event=event, model=model, verdict=verdict, analyst=analyst, time_us=time_us)
        )

    def events(self, wanted=None, scope=EVERYTHING, most=50):
        """All events of a filter, page by page, newest first."""
        found, behind = [], None
        while True:
            page = self.alerts.page(wanted or AlertFilter(verdict=""), scope, behind=behind, most=most)
            found += [row.event for row in page.rows]
            if not page.has_older:
                return found
            behind = page.rows[-1].key

    def names(self):
        people = People(self.store / "keys" / "subjects")
        rows = self.alerts.page(AlertFilter(verdict=""), EVERYTHING).rows
        return [people.name(row.entity, row.sealed, row.receipt) for row in rows]

    def of(self, name):
        """Events that somebody finds who looks a name up."""
        texts = People(self.store / "keys" / "subjects").texts_of(name)
        return self.events(AlertFilter(verdict="", entities=texts))


def read_whole(served):
    """Wait until the pages of a served console have the whole log: they say so while it is read."""
    with served.client(served.session("reader")) as client:
        while "index-reading" in client.get("/audit").text:
            pass
    return served


def alert(number, host=None, keys=None, **changes):
    """The record of an alert; with a host, and with keys that hide the host."""
    made = record(number, verdicts=changes.pop("verdicts", ("alert",)), **changes)
    if host is not None:
        made = msgspec.structs.replace(
            made, inputs={"host": Tensor("host", "BYTES", np.array([host.encode()] * made.rows, dtype=object))}
        )
    if keys is not None:
        made = redact(msgspec.structs.replace(made, personal={"host": "encrypt"}), keys)
    return made
