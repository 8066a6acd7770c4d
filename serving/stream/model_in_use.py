"""The model whose columns and states the worker's events are made for; another stable bundle may take its place at any time."""

from collections.abc import Sequence

from serving.errors import ServingError
from serving.models.manifest import Manifest
from serving.stream.answers import Answerer, CannotAnswer
from serving.stream.codecs.codec import EventCodec
from serving.stream.parsing import EventParser
from serving.stream.settings import StreamSettings
from serving.stream.state import KindsOf, StateKind


class ModelChanged(Exception):
    """The stable bundle takes other columns than before, or needs other states."""


class ModelInUse:
    """parser, kinds: of the bundle that `take` found."""

    def __init__(self, answerer: Answerer, codec: EventCodec, kinds_of: KindsOf, settings: StreamSettings) -> None:
        self._answerer, self._codec, self._kinds_of, self._settings = answerer, codec, kinds_of, settings
        self._manifest: Manifest | None = None
        self._parser: EventParser | None = None
        self.kinds: Sequence[StateKind] = ()

    def take(self) -> None:
        """Use what is served now. Raises CannotAnswer."""
        manifest = self._served()
        self._manifest, self.kinds = manifest, self._kinds_of(manifest)
        self._parser = self._parser_for(manifest)

    def parser(self) -> EventParser:
        """For the columns of the bundle. Raises CannotAnswer, ModelChanged."""
        self.manifest()
        if self._parser is None:  # `manifest` raises for a model that was not taken
            raise ModelChanged
        return self._parser

    def manifest(self) -> Manifest:
        """Of the stable bundle, which takes the same columns and states as the one that was taken. Raises CannotAnswer, ModelChanged."""
        manifest = self._served()
        if manifest is not self._manifest:
            parser = self._parser_for(manifest)
            names = [kind.name for kind in self._kinds_of(manifest)]
            if self._parser is None or parser.columns != self._parser.columns or names != [k.name for k in self.kinds]:
                raise ModelChanged
            self._manifest, self._parser = manifest, parser
        return manifest

    def _parser_for(self, manifest: Manifest) -> EventParser:
        more = {name: datatype for kind in self._kinds_of(manifest) for name, datatype in kind.columns.items()}
        return EventParser.of(manifest, self._codec, more, self._settings.max_event_bytes)

    def _served(self) -> Manifest:
        name = self._settings.model
        try:
            manifest = self._answerer.manifest(name)
        except ServingError as problem:
            raise CannotAnswer(problem.message) from problem
        if manifest.score is None or not manifest.assembly:
            raise CannotAnswer(f"model {name!r} has no score, or takes tensors only: it gives no verdicts on events")
        return manifest
