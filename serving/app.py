"""The composition root of the data plane: settings -> objects -> the Ray Serve application. Nowhere else are objects wired.

`build` is what `serve run serving.app:build` and KubeRay import; `vedette up` calls it with settings of its own."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from serving.access.followed_files import AccessFiles, follow
from serving.access.forwarded import TrustedProxies
from serving.access.gate import Gate
from serving.audit.anchors.publisher import AnchorPublisher, offer_to
from serving.audit.anchors.urls import open_anchors
from serving.audit.durability.modes import ALL_ASYNC, AuditMode, AuditModes
from serving.audit.health import AuditHealth
from serving.audit.keys.keyring import Keyring
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.segment_files import newest_notes
from serving.audit.witnesses import newest_of_others
from serving.audit.writer import SegmentWriter
from serving.cache.memory_cache import MemoryCache
from serving.cache.predictions import Predictions
from serving.cache.redis_cache import RedisCache
from serving.clock import SystemClock
from serving.doors.counts import AllDoorCounts
from serving.doors.listener import DoorBackend
from serving.features.opening import open_features
from serving.features.stores.addresses import needs_one_redis
from serving.loading.refused_bundles import RefusedBundles
from serving.loading.served_file import ServedFile, newest_of_each
from serving.models.limits.bundle_limits import limits_of
from serving.models.store import open_store
from serving.ports import Cache, Clock, FeatureReader
from serving.replica.host import Composition
from serving.replica.inference_service import ModelServer
from serving.replica.request_spans import EarlyRefusals
from serving.replica.siblings import Siblings
from serving.resilience.admission import Admission
from serving.resilience.breaker import Breakers
from serving.resilience.bulkhead import Bulkheads
from serving.risk.questions import RiskQuestions
from serving.scoring.explained import ExplanationThread
from serving.scoring.mirror import Mirror
from serving.scoring.protection import Protection
from serving.scoring.scorer import Scorer, ScorerLimits
from serving.segments.mapping import SegmentMap, SegmentMapError, read_segment_map
from serving.settings import ServingSettings
from serving.store_layout import check_readable, say_layout
from serving.telemetry.logs import configure_logging
from serving.telemetry.metrics import AuditCounts, MetricSource, ServingMetrics
from serving.telemetry.segments import MOST_COUNTED
from serving.telemetry.tracing.tail import KeepPolicy
from serving.telemetry.tracing.tracer import Tracer

if TYPE_CHECKING:
    from ray import serve

_log = logging.getLogger("vedette.serving")
_OTHER_LOGS = ("governance", "labels")
"""Folders of the store's other chained logs."""


def build(args: Mapping[str, str] | None = None) -> "serve.Application":
    """The Ray Serve application. args: settings by field name, over those of the environment. Raises ValueError for any other name."""
    fields = ServingSettings.model_fields
    unknown = sorted(set(args or {}) - set(fields))
    if unknown:
        raise ValueError(f"the application has no setting {unknown}; expected some of {sorted(fields)}")
    return application(ServingSettings.model_validate({**ServingSettings().model_dump(), **(args or {})}))


def application(settings: ServingSettings, *, shares_ports: bool = False) -> "serve.Application":
    """The Ray Serve application for these settings. shares_ports: other sockets may have the doors' ports too."""
    from serving.replica.replica import Replica  # imports Ray, which `vedette score` and pods without it do not need

    deployment = Replica.options(num_replicas=settings.replicas, user_config={})  # type: ignore[attr-defined]
    bound: serve.Application = deployment.bind(settings, compose, shares_ports=shares_ports)
    return bound


async def compose(
    settings: ServingSettings,
    *,
    reader: FeatureReader | None = None,
    watched: Sequence[MetricSource] = (),
    degraded: Callable[[], Sequence[str]] = tuple,
    around: Callable[[FeatureReader], FeatureReader] | None = None,
    is_joined: Callable[[], bool] = lambda: True,
    tracer: Tracer | None = None,
) -> Composition:
    """Wire one replica's objects, on the event loop of its listeners.

    reader: of features, in place of the online store's. around: puts another reader before the usual one. watched: further metrics to
    show. degraded: what else is out, for readiness. is_joined: whether what else the process does has begun; it is not ready before.
    tracer: of the process, where something else in it has spans too; it is closed with the replica."""
    configure_logging(settings.log_level)
    check_readable(settings.store_dir)
    with suppress(OSError):  # one that is mounted read-only needs no number
        say_layout(settings.store_dir)
    identity = secrets.token_hex(6)
    async with AsyncExitStack() as stack:
        segments, unmapped = open_segments(settings.segments)
        metrics, clock = ServingMetrics(identity, segments=segments), SystemClock()
        stack.callback(asyncio.get_running_loop().create_task(metrics.lag.watch()).cancel)
        for source in watched:
            metrics.watch(source)
        tracer = tracer or open_tracer(settings)
        stack.callback(tracer.close)
        metrics.watch(tracer.metrics)
        audit, unaccounted = _open_audit(settings, metrics, stack)
        protection = await _protect(settings, metrics, clock, stack)
        features = reader
        if features is None:
            features = opened = await open_features(settings, protection.features(), lambda: metrics.lag.late_s)
            protection.node_states = opened.node_states
            if opened.near is not None:
                metrics.watch(opened.near.metrics)
        if features is not None:
            stack.push_async_callback(features.close)
            features = features if around is None else around(features)
        aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mirror")
        stack.callback(aside.shutdown, wait=False, cancel_futures=True)
        mirror = Mirror(
            features,
            clock,
            metrics,
            executor=aside,
            max_copies=settings.mirror_queue,
            max_rows=settings.max_rows,
            deadline_s=settings.default_deadline_s,
            feature_timeout_s=settings.feature_timeout_s,
            segments=segments,
        )
        stack.callback(mirror.close)
        metrics.watch(mirror.metrics)
        doors = AllDoorCounts()
        metrics.watch(doors.metrics)
        explanations = ExplanationThread(queue=settings.explain_queue, budget_s=settings.explain_budget_s)
        stack.callback(explanations.close)
        metrics.watch(explanations.metrics)
        scorer = Scorer(
            features=features,
            audit=audit,
            clock=clock,
            metrics=metrics,
            limits=ScorerLimits(settings.default_deadline_s, settings.feature_timeout_s, settings.max_rows),
            identity=identity,
            mirror=mirror,
            protection=protection,
            audit_modes=audit_modes(settings),
            explanations=explanations,
            segments=segments,
        )
        gate, access_problems = _open_gate(settings, metrics, stack)
        siblings = Siblings(settings.store_dir, identity, key=gate.replica_key if gate is not None else "")
        stack.callback(siblings.leave)
        store, served = open_store(settings), ServedFile(settings.store_dir)
        service = ModelServer(
            store=store,
            scorer=scorer,
            features=features,
            metrics=metrics,
            tracer=tracer,
            probe_timeout_s=settings.probe_timeout_s,
            model_threads=settings.model_threads,
            limits=limits_of(settings),
            may_control=settings.repository_control,
            record=lambda change: served.update(change, lambda: newest_of_each(store)),
            is_joined=is_joined,
            on_refused=RefusedBundles(audit, identity=identity, now_us=clock.now_us),
        )
        stack.callback(service.close)
        stack.callback(asyncio.get_running_loop().create_task(service.watch_store()).cancel)
        return Composition(
            service=service,
            backend=DoorBackend(
                service,
                metrics.render,
                siblings.merge,
                admit=protection.admission.refuse if protection.admission is not None else None,
                on_refused=EarlyRefusals(tracer) if tracer.tail.is_on and tracer.is_on else None,
                degraded=lambda: (*protection.degraded(), *unaccounted(), *unmapped, *access_problems(), *degraded()),
                risks=_open_risks(settings, stack),
                counts=doors,
                watch=metrics.watch,
                gate=gate,
                openmetrics=metrics.render_open,
            ),
            served=served,
            fallback=lambda: newest_of_each(store),
            siblings=siblings,
            load=lambda: {"ongoing_requests": float(metrics.ongoing), "loop_late_s": metrics.lag.late_s},
            close=stack.pop_all().aclose,
        )
    raise AssertionError("not reached")


def open_tracer(settings: ServingSettings) -> Tracer:
    """What makes and ships the spans of a process that answers."""
    tail = KeepPolicy(settings.trace_slow_ms / 1000, settings.trace_kept_per_s)
    return Tracer(settings.trace_ratio, settings.otlp_endpoint, tail=tail)


def _open_gate(
    settings: ServingSettings, metrics: ServingMetrics, stack: AsyncExitStack
) -> tuple[Gate | None, Callable[[], tuple[str, ...]]]:
    """What decides who may ask for what, if there is a policy, and what is wrong with its files, a line each.

    Raises AccessPolicyError for a policy that cannot be used: no door opens then."""
    if settings.access is None:
        return None, tuple
    files = AccessFiles(settings.access)
    files.start()
    proxies = TrustedProxies(settings.trusted_networks, settings.proxy_header) if settings.trusted_proxies.strip() else None
    gate = Gate(files.policy, files.keys, random=secrets.token_bytes, proxies=proxies)
    stack.callback(asyncio.get_running_loop().create_task(follow(gate, files)).cancel)
    metrics.watch(gate.metrics)
    metrics.watch(files.metrics)
    return gate, files.problems


def _open_risks(settings: ServingSettings, stack: AsyncExitStack) -> RiskQuestions | None:
    """What answers questions about risks over HTTP, where clients may ask."""
    if not settings.risk_over_http:
        return None
    questions = RiskQuestions(settings.store_dir, settings.risk_url)
    stack.callback(questions.close)
    return questions


def open_segments(path: Path | None) -> tuple[SegmentMap | None, tuple[str, ...]]:
    """The mapping by which evidence is counted, and what is wrong with it, a line each. A mapping that cannot be used stops no answer."""
    if path is None:
        return None, ()
    try:
        mapping = read_segment_map(path)
        if len(mapping.segments) > MOST_COUNTED:
            raise SegmentMapError(
                f"{path}: has {len(mapping.segments)} segments, a replica counts at most {MOST_COUNTED}; merge some"
            )
    except SegmentMapError as problem:
        _log.error("VEDETTE_SEGMENTS: %s; segments are not counted", problem)
        return None, (f"segments are not counted: {problem}",)
    return mapping, ()


async def _protect(settings: ServingSettings, metrics: ServingMetrics, clock: Clock, stack: AsyncExitStack) -> Protection:
    """Breakers, bulkheads, early refusal and the prediction cache of this replica."""
    bulkheads = Bulkheads(threads=settings.run_threads, queue=settings.run_queue)
    stack.callback(bulkheads.close)
    protection = Protection(
        Breakers(), bulkheads, settings.default_deadline_s, settings.feature_timeout_s, are_breakers_on=settings.breakers
    )
    protection.admission = Admission(
        max_wait_s=settings.max_wait_s,
        max_ongoing=settings.max_ongoing,
        ongoing=lambda: metrics.ongoing,
        late_s=lambda: metrics.lag.late_s,
        call_soon=asyncio.get_running_loop().call_soon,
    )
    cache = await _open_cache(settings)
    if cache is not None:
        stack.push_async_callback(cache.close)
        guard = protection.cache(settings.cache_timeout_s)
        protection.predictions = Predictions(
            cache, guard, clock, min_run_s=settings.cache_from_us * 1e-6, lookup_timeout_s=settings.cache_timeout_s
        )
    metrics.watch(protection.metrics)
    return protection


async def _open_cache(settings: ServingSettings) -> Cache | None:
    if settings.cache == "memory":
        return MemoryCache(settings.cache_bytes, settings.cache_ttl_s)
    if settings.cache == "off":
        return None
    url = settings.cache_url or settings.redis_url
    if url is None:
        raise ValueError("VEDETTE_CACHE=redis needs the address of a Redis; set VEDETTE_CACHE_URL=redis://HOST:PORT/DATABASE")
    if (refused := needs_one_redis(url, "VEDETTE_CACHE=redis", "VEDETTE_CACHE_URL")) is not None:
        raise ValueError(refused)
    cache = RedisCache(url, settings.cache_ttl_s)
    await cache.start()
    return cache


def _open_audit(
    settings: ServingSettings, metrics: ServingMetrics, stack: AsyncExitStack
) -> tuple[SegmentWriter | None, Callable[[], tuple[str, ...]]]:
    """The prediction log, and what is wrong with it now, a line each."""
    modes = audit_modes(settings)
    if modes != ALL_ASYNC:
        _log.info("the prediction log: %s", modes.words())
    if modes.are_all_off:
        return None, tuple
    folder = settings.store_dir / "audit"
    others = [settings.store_dir / name for name in _OTHER_LOGS]
    keyring = Keyring.of(settings.store_dir, settings.audit_key, settings.audit_key_name, folders=[folder])
    anchors = _open_anchors(settings, keyring, stack)
    audit = SegmentWriter(
        folder,
        segment_bytes=settings.audit_segment_bytes,
        segments=settings.audit_segments,
        queue=settings.audit_queue,
        signer=keyring.signer,
        subject_keys=SubjectKeys(settings.store_dir / "keys" / "subjects"),
        tell=offer_to(anchors),
        elsewhere=lambda: tuple({witness.log: witness for anchor in anchors for witness in anchor.others}.values()),
        beside=lambda: tuple(one for other in others for one in newest_of_others(other, "", keyring.knows)),
        is_known=keyring.knows,
    )
    stack.callback(audit.close)
    metrics.watch_audit(
        lambda: AuditCounts(
            audit.written, audit.dropped, audit.refused, audit.is_failing, audit.waiting, audit.lag_s(), audit.durable_s
        )
    )
    health = AuditHealth(keyring, anchors)
    metrics.watch(health.metrics)
    return audit, lambda: (*audit.degraded(), *health.problems())


def audit_modes(settings: ServingSettings) -> AuditModes:
    """How answers depend on their records."""
    models = {model: AuditMode(word) for model, word in settings.audit_models.items()}
    return AuditModes(AuditMode(settings.audit), models)


def _open_anchors(settings: ServingSettings, keyring: Keyring, stack: AsyncExitStack) -> list[AnchorPublisher]:
    """Publishers of checkpoints, one for each anchor; they are closed after the log, so that its last checkpoint is published too."""
    publishers = [
        AnchorPublisher(
            anchor,
            every_s=settings.audit_anchor_every_s,
            also=lambda: [note for name in _OTHER_LOGS for note in newest_notes(settings.store_dir / name)],
            is_trusted=keyring.has_signed,
        )
        for anchor in open_anchors(settings.audit_anchor)
    ]
    for publisher in publishers:
        stack.callback(publisher.close)
    return publishers
