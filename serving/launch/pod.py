"""`python -m serving.launch.pod`: a complete data plane in one pod, for platforms without Ray that mount one bundle (KServe).

It verifies the bundle and adds it to the store, writes served.json, and starts one replica as `vedette up` does. On SIGTERM it finishes
the requests under way and ends."""

import logging
import signal
import sys
from threading import Event

from pydantic import ValidationError

from serving.loading.served_file import ServedFile, newest_of_each
from serving.models.bundle import problems_in
from serving.models.errors import ModelError
from serving.models.store import open_store
from serving.settings import ServingSettings
from serving.spec import ServingSpec
from serving.store_layout import StoreLayoutError, check_readable
from serving.telemetry.logs import configure_logging

_log = logging.getLogger("vedette.serving")


def prepare(settings: ServingSettings) -> ServingSpec:
    """Fill the store and write what is served from it. Raises ModelError if the bundle is damaged or is not the wanted one."""
    store = open_store(settings)
    if settings.bundle_dir is not None:
        store.add(store.read_at(settings.bundle_dir))
    spec = _parse_served(settings.served) if settings.served else newest_of_each(store)
    held = {e.digest for e in store.entries()}
    missing = [m for m in spec.models if m.revision.bundle not in held]
    if missing or not spec.models:
        wanted = ", ".join(f"{m.name} {m.version} ({m.revision.bundle})" for m in missing) or "some model"
        raise ModelError(
            f"the pod must serve {wanted}, but {settings.bundle_dir or settings.store_dir} holds {', '.join(sorted(held)) or 'no bundle'}; "
            "the storage address must name the bundle, e.g. by {digest} in spec.backend.kserve.storageUri"
        )
    ServedFile(settings.store_dir).write(spec)
    return spec


def _parse_served(text: str) -> ServingSpec:
    try:
        return ServingSpec.model_validate_json(text)
    except ValidationError as problem:
        raise ModelError(f"VEDETTE_SERVED is not a serving specification: {problems_in(problem)}") from problem


def main() -> int:
    """Serve until a signal; the exit status."""
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    settings = ServingSettings()
    configure_logging(settings.log_level)
    try:
        check_readable(settings.store_dir)
        spec = prepare(settings)
    except (ModelError, StoreLayoutError, OSError) as problem:
        _log.error("%s", problem)
        return 1
    from serving.launch.local import StartError, start_local

    try:
        running = start_local(settings)
    except (StartError, OSError) as problem:
        _log.error("%s", problem)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):  # Ray puts handlers of its own
        signal.signal(number, lambda *_: stopping.set())
    _log.info("serving %s on port %d", ", ".join(f"{m.name} {m.version}" for m in spec.models), running.http_port)
    try:
        while not stopping.wait(1.0):
            pass
    finally:
        running.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
