"""One pod's life: volumes, namespaces, init containers in order, containers with probes and restarts, an end in order."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from tests.cluster.kubelet import probes
from tests.cluster.kubelet.environment import ConfigError, command_line, expand, variables
from tests.cluster.kubelet.images import Image
from tests.cluster.kubelet.sandbox import Running, Sandbox, User, user_of
from tests.cluster.kubelet.status import ContainerState, backoff_s, is_sidecar, pod_status, restarted, restarts, waiting
from tests.cluster.kubelet.volumes import Volumes

Json = dict[str, Any]
AGAIN_S: Final = 0.5
BACKOFF_S: Final = 1.0
"""Before the first restart; a kubelet's is 10 s."""
REFRESH_S: Final = 20.0
SILENT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What a pod needs of its node. images: by name. fetch: see volumes.Fetch. links: variables of a namespace's Services."""

    address: str
    allocatable: dict[str, str]
    image: Callable[[str], Image]
    links: Callable[[str], dict[str, str]]
    write: Callable[[Json, Json], Awaitable[Json | None]]
    remove: Callable[[Json], Awaitable[None]]


class Pod:
    """document: as the API server has it now. `run` returns when the pod is gone."""

    def __init__(self, document: Json, machine: Machine, sandbox: Sandbox, volumes: Volumes) -> None:
        self.document, self._machine, self._sandbox, self._volumes = document, machine, sandbox, volumes
        spec = document["spec"]
        self._initial = {c["name"]: waiting("PodInitializing") for c in spec.get("initContainers") or ()}
        self._main = {
            c["name"]: waiting("PodInitializing" if self._initial else "ContainerCreating") for c in spec["containers"]
        }
        self._running: dict[str, Running] = {}
        self._ending = asyncio.Event()
        self._changed = asyncio.Event()
        self._written: Json = {}
        self._final: Any = ""

    def update(self, document: Json) -> None:
        """What a watch brought."""
        self.document = document
        self._volumes.pod = document
        if document["metadata"].get("deletionTimestamp"):
            self._ending.set()
        self._changed.set()

    async def cut(self) -> None:
        """Its network: the first that a lost power does, before a process could say farewell to its peers."""
        await self._sandbox.cut()

    def kill(self) -> None:
        """The node lost power."""
        for one in self._running.values():
            one.signal(signal.SIGKILL)
        self._sandbox.kill()

    async def run(self) -> None:
        writer = asyncio.create_task(self._write_on())
        living = asyncio.create_task(self._live())
        ending = asyncio.create_task(self._ending.wait())
        if self.document["metadata"].get("deletionTimestamp"):
            self._ending.set()
        try:
            await asyncio.wait([living, ending], return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                await living
                await self._ending.wait()  # what ended stays until somebody deletes it
            else:
                await self._end_containers()
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
            await _cancelled([writer])
            await self._sandbox.stop()
            self._final = self._phase_at_end()
            await self._write()
            self._volumes.remove()
            await self._machine.remove(self.document)
        finally:
            for task in (writer, living, ending):
                task.cancel()
            await asyncio.gather(writer, living, ending, return_exceptions=True)
            await self._sandbox.stop()

    # --- life

    async def _live(self) -> None:
        await self._prepared()
        await self._sandbox.start(self._volumes.memory)
        self._changed.set()
        refreshing = asyncio.create_task(self._refresh_on())
        sidecars: list[asyncio.Task[None]] = []
        try:
            for container in self.document["spec"].get("initContainers") or ():
                if is_sidecar(container):
                    sidecars.append(asyncio.create_task(self._supervise(container, self._initial, "Always")))
                    await self._until_started(container["name"])
                    continue
                policy = "Never" if self.document["spec"].get("restartPolicy") == "Never" else "OnFailure"
                await self._supervise(container, self._initial, policy)
                if self._initial[container["name"]].exit_code:
                    return
            for container in self.document["spec"]["containers"]:
                self._set(self._main, container["name"], waiting("ContainerCreating"))
            policy = self.document["spec"].get("restartPolicy", "Always")
            mains = [asyncio.create_task(self._supervise(c, self._main, policy)) for c in self.document["spec"]["containers"]]
            try:
                await asyncio.gather(*mains)
            finally:
                await _cancelled(mains)
        finally:
            await _cancelled([refreshing, *sidecars])

    async def _prepared(self) -> None:
        while True:
            try:
                await self._volumes.make()
                return
            except ConfigError as problem:
                self._say_all("ContainerCreating", str(problem))
                await asyncio.sleep(AGAIN_S)

    async def _refresh_on(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            with contextlib.suppress(ConfigError):
                await self._volumes.refresh()

    async def _supervise(self, container: Json, states: dict[str, ContainerState], policy: str) -> None:
        """Run a container until it has ended for good."""
        name, failures = container["name"], 0
        while True:
            code = await self._once(container, states)
            if self._ending.is_set() or not restarts(policy, code):
                return
            failures += 1
            wait_s = backoff_s(failures, BACKOFF_S)
            words = f"back-off {wait_s:g}s restarting failed container={name}"
            self._set(states, name, restarted(states[name], "CrashLoopBackOff", words))
            await asyncio.sleep(wait_s)

    async def _once(self, container: Json, states: dict[str, ContainerState]) -> int:
        name = container["name"]
        image, user, environment, running = await self._started(container, states)
        begun = _now()
        has_probe = bool(container.get("readinessProbe"))
        is_started = not container.get("startupProbe")
        running_state = {"running": {"startedAt": begun}}
        ready = is_started and not has_probe
        self._set(states, name, replace(states[name], state=running_state, ready=ready, started=is_started))

        async def execute(argv: list[str], _: float) -> int:
            return await self._sandbox.execute(running, container, image, user, argv, environment)

        if hook := (container.get("lifecycle") or {}).get("postStart"):
            await self._hook(hook, container, execute)
        probing = asyncio.create_task(self._probe(container, states, running, execute))
        try:
            code = await running.wait()
        finally:
            await _cancelled([probing])
        self._running.pop(name, None)
        was_out_of_memory = running.ended() and code == 137
        reason = "OOMKilled" if was_out_of_memory else "Completed" if code == 0 else "Error"
        ended = {"exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": _now()}
        self._set(states, name, replace(states[name], state={"terminated": ended}, ready=False, started=False))
        return code

    async def _started(self, container: Json, states: dict[str, ContainerState]) -> tuple[Image, User, dict[str, str], Running]:
        """Start it, as soon as all that it names is there."""
        name = container["name"]
        while True:
            try:
                image = self._machine.image(container["image"])
                user = user_of(self.document, container, image)
                environment = await self._environment(container)
                break
            except (LookupError, FileNotFoundError) as problem:
                self._set(
                    states, name, replace(states[name], state={"waiting": {"reason": "ErrImagePull", "message": str(problem)}})
                )
            except (ConfigError, ValueError) as problem:
                state = {"waiting": {"reason": "CreateContainerConfigError", "message": str(problem)}}
                self._set(states, name, replace(states[name], state=state))
            await asyncio.sleep(AGAIN_S)
        argv = command_line(container, image.entry, image.command, environment)
        mounts = self._volumes.mounts(container, lambda text: expand(text, environment))
        running = await self._sandbox.run(container, image, user, argv, environment, mounts, states[name].restarts)
        self._running[name] = running
        return image, user, environment, running

    async def _environment(self, container: Json) -> dict[str, str]:
        document = {**self.document, "status": self._status()}
        wanted: dict[tuple[str, str], dict[str, str]] = {}
        for source in (*(container.get("envFrom") or ()), *((v.get("valueFrom") or {}) for v in container.get("env") or ())):
            for kind in ("configMap", "secret"):
                said = source.get(f"{kind}Ref") or source.get(f"{kind}KeyRef")
                if said:
                    held = await self._volumes.fetch(kind, said["name"], said.get("optional", False))
                    wanted[kind, said["name"]] = {key: value.decode() for key, value in held.items()}
        links = self._machine.links(
            self.document["metadata"]["namespace"] if self.document["spec"].get("enableServiceLinks", True) else ""
        )
        return variables(container, document, links, lambda kind, name, _: wanted[kind, name], self._machine.allocatable)

    # --- probes

    async def _probe(self, container: Json, states: dict[str, ContainerState], running: Running, execute: probes.Exec) -> None:
        name = container["name"]
        if startup := container.get("startupProbe"):
            verdict = probes.threshold(startup, holds=False)
            failures = 0
            await asyncio.sleep(startup.get("initialDelaySeconds") or 0)
            while not verdict.holds:
                passed, why = await probes.ask(startup, container, self._sandbox.address, execute)
                verdict, failures = verdict.after(passed), 0 if passed else failures + 1
                if failures >= verdict.failure:
                    await self._end_one(container, running, f"startup probe failed: {why}")
                    return
                if not verdict.holds:
                    await asyncio.sleep(startup.get("periodSeconds") or 10)
            ready = not container.get("readinessProbe")
            self._set(states, name, replace(states[name], started=True, ready=ready))
        both = [self._readiness(container, states, execute), self._liveness(container, running, execute)]
        await asyncio.gather(*both)

    async def _readiness(self, container: Json, states: dict[str, ContainerState], execute: probes.Exec) -> None:
        probe, name = container.get("readinessProbe"), container["name"]
        if not probe:
            return
        verdict = probes.threshold(probe, holds=False)
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        while True:
            passed, why = await probes.ask(probe, container, self._sandbox.address, execute)
            before, verdict = verdict, verdict.after(passed)
            if verdict.holds != before.holds:
                self._log(f"{name}: {'ready' if verdict.holds else 'not ready: ' + why}")
                self._set(states, name, replace(states[name], ready=verdict.holds))
            await asyncio.sleep(probe.get("periodSeconds") or 10)

    async def _liveness(self, container: Json, running: Running, execute: probes.Exec) -> None:
        probe = container.get("livenessProbe")
        if not probe:
            return
        verdict = probes.threshold(probe, holds=True)
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        while True:
            passed, why = await probes.ask(probe, container, self._sandbox.address, execute)
            verdict = verdict.after(passed)
            if not verdict.holds:
                await self._end_one(container, running, f"liveness probe failed: {why}")
                return
            await asyncio.sleep(probe.get("periodSeconds") or 10)

    # --- the end

    async def _end_one(self, container: Json, running: Running, why: str) -> None:
        self._log(f"{container['name']} is ended: {why}")
        await self._terminate(container, running, self.document["spec"].get("terminationGracePeriodSeconds", 30))

    async def _end_containers(self) -> None:
        grace = self.document["metadata"].get("deletionGracePeriodSeconds")
        grace = self.document["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
        spec = self.document["spec"]
        for group in (spec["containers"], spec.get("initContainers") or ()):
            ended = [self._terminate(c, self._running[c["name"]], grace) for c in group if c["name"] in self._running]
            await asyncio.gather(*ended)

    async def _terminate(self, container: Json, running: Running, grace: float) -> None:
        """preStop and SIGTERM within the grace period, then SIGKILL."""
        waiting_for = asyncio.ensure_future(running.wait())
        try:
            async with asyncio.timeout(grace):
                if hook := (container.get("lifecycle") or {}).get("preStop"):
                    environment = await self._environment(container)
                    image = self._machine.image(container["image"])
                    user = user_of(self.document, container, image)
                    await self._hook(
                        hook,
                        container,
                        lambda argv, _: self._sandbox.execute(running, container, image, user, argv, environment),
                    )
                running.signal(signal.SIGTERM)
                await asyncio.shield(waiting_for)
        except TimeoutError:
            self._log(f"{container['name']} did not end within {grace:g} s and is killed")
            running.signal(signal.SIGKILL)
            await waiting_for

    async def _hook(self, hook: Json, container: Json, execute: probes.Exec) -> None:
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
        elif "exec" in hook:
            code = await execute(hook["exec"]["command"], 0)
            if code:
                self._log(f"{container['name']}: the hook {hook['exec']['command']} ended with {code}")
        else:
            with contextlib.suppress(Exception):
                await probes.http_get(hook["httpGet"], container, self._sandbox.address, 30)

    def _phase_at_end(self) -> str:
        codes = [state.exit_code for state in self._main.values()]
        return "Succeeded" if all(code == 0 for code in codes) else "Failed"

    # --- what is told

    def _log(self, text: str) -> None:
        metadata = self.document["metadata"]
        print(f"{_now()} {metadata['namespace']}/{metadata['name']} {text}", file=sys.stderr, flush=True)

    def _set(self, states: dict[str, ContainerState], name: str, state: ContainerState) -> None:
        if state != states[name]:
            states[name] = state
            self._log(f"{name}: {state.state}")
            self._changed.set()

    def _say_all(self, reason: str, message: str) -> None:
        for name in self._main:
            self._set(self._main, name, waiting(reason, message))

    async def _until_started(self, name: str) -> None:
        while not self._initial[name].started:
            await asyncio.sleep(0.05)

    def _status(self) -> Json:
        images = {
            c["name"]: f"test://{c['image']}"
            for c in (*self.document["spec"]["containers"], *(self.document["spec"].get("initContainers") or ()))
        }
        status = pod_status(
            self.document, self._initial, self._main,
            address=self._sandbox.address, host=self._machine.address, now=_now(), images=images,
            was=self._written.get("conditions", ()), final=self._final,
        )  # fmt: skip
        begun = self._written.get("startTime") or _now()
        return {**status, "startTime": begun}

    async def _write_on(self) -> None:
        while True:
            await self._write()
            await self._changed.wait()
            self._changed.clear()

    async def _write(self) -> None:
        status = self._status()
        while status != self._written:
            try:
                await self._machine.write(self.document, status)
            except Exception as problem:  # an API server that is away is asked again
                self._log(f"status not written: {problem}")
                await asyncio.sleep(AGAIN_S)
                continue
            self._written = status


async def _cancelled(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
