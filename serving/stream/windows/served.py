"""The windows of the models that a worker scores with, and the reader of features that answers from them."""

import logging
from collections.abc import Mapping, Sequence

from serving.features.opening import OpenReader
from serving.features.plan.definitions import StoredView
from serving.features.plan.errors import RegistryError
from serving.features.stores.writing import OnlineWriter
from serving.models.manifest import Manifest
from serving.ports import FeatureReader
from serving.stream.state import StateKind
from serving.stream.windows.kind import NoWindows, WindowKind, window_spec_of
from serving.stream.windows.push import PushTarget
from serving.stream.windows.reader import WindowFeatures
from serving.telemetry.tracing.tracer import Tracer

_log = logging.getLogger("vedette.stream")


class ServedWindows:
    """The windows of the stable bundle, whichever it is; a serving.stream.state.KindsOf."""

    def __init__(self, *, is_on: bool, bound: int, lateness_s: float, push_s: float, tracer: Tracer | None = None) -> None:
        """is_on: whether windows are counted; if not, the online store has the features. bound, lateness_s: see WindowKind. push_s: how
        often their rows are pushed to the online store; 0: never. tracer: of the pushes."""
        self._is_on, self._bound, self._lateness_s = is_on, bound, lateness_s
        self._push_s, self._tracer = push_s, tracer
        self._ordinary: OpenReader | None = None
        self._kinds: dict[str, WindowKind] = {}
        self._told: str | None = None

    def over(self, ordinary: FeatureReader) -> FeatureReader:
        """The reader that answers events from these windows; see serving.app.compose."""
        if not isinstance(ordinary, OpenReader):
            raise TypeError(f"windows are read beside the plans of a registry, and {type(ordinary).__name__} has none")
        self._ordinary = ordinary
        return WindowFeatures(ordinary, self._kinds)

    def __call__(self, manifest: Manifest) -> Sequence[StateKind]:
        """The windows of a bundle, the same object for the same windows. A bundle that does not say how its windows are counted has none:
        its features come from the online store, and the log says so."""
        if not self._is_on:
            return ()
        try:
            spec = window_spec_of(manifest)
        except NoWindows as problem:
            if self._told != str(problem):
                self._told = str(problem)
                _log.error("%s", problem)
            return ()
        if spec is None:
            return ()
        kind = self._kinds.get(spec.service)
        if kind is None or kind.spec != spec:
            if kind is not None:
                kind.close()
            target = self._target(spec.service) if self._push_s and self._ordinary is not None else None
            kind = self._kinds[spec.service] = WindowKind(
                spec, bound=self._bound, lateness_s=self._lateness_s, target=target, every_s=self._push_s, tracer=self._tracer
            )
        return (kind,)

    def close(self) -> None:
        """Push what waits, and end."""
        for kind in self._kinds.values():
            kind.close()

    def _target(self, service: str) -> PushTarget:
        def open_target() -> tuple[OnlineWriter, Mapping[str, StoredView]]:
            reader = self._ordinary
            if reader is None:
                raise RegistryError("no feature store is open")
            return reader.open_writer(), {view.name: view for view in reader.plan(service).source.stored}

        return open_target
