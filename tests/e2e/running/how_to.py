"""How-to pages and tutorials as a reader follows them: files made as the page says, commands typed as they stand, in a folder that was
empty at first.

Only addresses differ, because tests never use the default ports. What cannot be followed here is named below with the reason;
tests/docs/test_how_to.py fails for a command that is neither played nor named."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.pages import ROOT, blocks, commands, files, outputs_shown
from tests.e2e.running import warm_vedette
from tests.e2e.running.vedette import Vedette, environment
from tests.waiting import until

HOW_TO = ROOT / "docs" / "how-to"
TUTORIALS = ROOT / "docs" / "tutorials"
ALL = "every command"
_SERVER = "the page's `vedette up` is the server that the tests share"
_ACTIVE = "the tests' environment is active"
_CLUSTER = "a cluster; tests/contract/operator/test_control.py says the verbs to one"
_CLUSTER_ADMIN = "a cluster; tests/unit/serving/audit/keys/test_keyring.py rotates a mounted key"
_CAPTURES = "minutes, and real captures; tests/integration/features/test_training.py judges both detectors on them"
_UNTIL_CTRL_C_LABELS = "runs until Ctrl-C; tests/integration/labels/test_label_server_killed.py runs it and gives labels"
_UNTIL_CTRL_C = "looks until Ctrl-C; played without --watch"

NOT_PLAYED: Mapping[str, Mapping[str, str]] = {
    "README.md": {". .venv/bin/activate": _ACTIVE},
    "serve-your-own-detector.md": {ALL: "the tutorial own-detector.md has the same commands, with rows to try them on; it is played"},
    "first-alert.md": {"make up": _SERVER, ". .venv/bin/activate": _ACTIVE},
    "first-canary.md": {"python traffic.py": "until Ctrl-C; the test runs it beside"},
    "first-stream.md": {
        "make services": "installs packages",
        "make up ARGS=--stream": "tests/e2e/servers/test_up_stream.py runs it; the page's other commands are typed beside another worker",
        ". .venv/bin/activate": _ACTIVE,
    },
    "first-verdict.md": {"make up": _SERVER, ". .venv/bin/activate": _ACTIVE},
    "benchmark.md": {ALL: "20 minutes, and installs packages; tests/integration/test_bench_*.py run its parts"},
    "faults.md": {ALL: "minutes each; tests/e2e/test_faults.py plays the faults in short"},
    "load-test.md": {ALL: "minutes, and a verdict on the speed of this machine; tests/integration/loadtests/test_locust.py runs locust"},
    "use-the-console.md": {ALL: "a browser; tests/integration/console asks the console as one does"},
    "put-envoy-in-front.md": {
        ALL: "Kubernetes and a certificate; tests/integration/doors/test_envoy_front.py runs Envoy with the page's rules"
    },
    "say-who-may-ask.md": {
        ALL: "tests/unit/operators/cli/access types its commands, tests/integration/doors/access asks guarded doors"
    },
    "serve-over-tls.md": {
        ALL: "certificates and a server until Ctrl-C; tests/integration/doors/tls asks doors with certificates, the operator and the kit"
    },
    "run-the-operator.md": {ALL: "a cluster; tests/contract and tests/cluster apply the overlays and run the operator"},
    "bring-images-to-a-cluster.md": {ALL: "a container engine and a registry; tests/images carries the Dockerfiles out"},
    "install-the-operator.md": {ALL: "a cluster; tests/cluster/test_installation.py types the page's commands at one"},
    "install-serving.md": {ALL: "a cluster; tests/manifests/platform/test_admission.py types the page's commands at a real API server"},
    "fit-to-your-cluster.md": {
        ALL: "a site's own folder; tests/manifests/platform renders it, tests/unit/operators/backends/checks lints it"
    },
    "harden-a-deployment.md": {ALL: "no commands; tests/manifests/platform/test_network.py has the cases"},
    "deploy-streams.md": {ALL: "a cluster with a broker; tests/manifests/platform gives the overlay to a real API server"},
    "trace-requests.md": {ALL: "a collector and its backend; tests/integration/tracing follows a request into a real collector"},
    "run-two-copies.md": {ALL: "tests/e2e/servers/test_up_stream.py runs two copies"},
    "evaluate.md": {
        'vedette evaluate flows --data-dir "$VEDETTE_DATA_DIR/flows"': _CAPTURES,
        'vedette evaluate nsl-kdd --data-dir "$VEDETTE_DATA_DIR/nsl-kdd" --seeds 5': _CAPTURES,
    },
    "check-a-server.md": {ALL: "tests/e2e/test_conform.py runs the kit against the shared server, test_fuzz.py the fuzz run"},
    "keep-features-in-redis.md": {
        "vedette up": _SERVER,
        "export VEDETTE_REDIS_URL=redis+cluster://:PASSWORD@node1:6379,node2:6379,node3:6379": (
            "a cluster; tests/contract/serving/test_feature_plan.py reads a real one"
        ),
        "export VEDETTE_REDIS_URL='redis+sentinel://:PASSWORD@sentinel1:26379,sentinel2:26379,sentinel3:26379/mymaster/0'": (
            "sentinels; tests/contract/serving/test_feature_plan.py asks real ones"
        ),
    },
    "upgrade.md": {
        ALL: "a backup and two versions; tests/unit/lifecycle/store_layout migrates, tests/cluster/test_installation.py upgrades a cluster"
    },
    "use-public-clients.md": {
        "vedette up": _SERVER,
        "grpcurl -plaintext 127.0.0.1:8081 list": "needs grpcurl; tests/e2e/clients/reflection.py asks the same way",
        "grpcurl -plaintext -d '{\"name\": \"simple\"}' 127.0.0.1:8081 inference.GRPCInferenceService/ModelMetadata": "needs grpcurl",
    },
    "watch-it.md": {
        "vedette top --context soc --metrics http://127.0.0.1:8080 --metrics http://127.0.0.1:9090": (
            "a cluster; tests/unit/operators/control/test_replica_figures.py asks pods through an API server"
        ),
        "jq -r '.data[]' manifests/components/dashboards/vedette-sre.json > sre.json": (
            "the checkout's files; tests/manifests/observability reads the same"
        ),
        "yq .spec manifests/components/prometheus-operator/rules.yaml > rules.yaml": (
            "needs yq; tests/integration/observability gives the same to a Prometheus"
        ),
        "VEDETTE_OTLP_ENDPOINT=http://127.0.0.1:4318 VEDETTE_TRACE_RATIO=0.05 vedette up": (
            "a collector; tests/integration/test_otlp.py runs one"
        ),
    },
    "run-the-monitor.md": {
        "vedette monitor --metrics-port 9105 --webhook https://soc.example.com/alarms": (
            "goes on until a signal; tests/unit/operators/cli/monitoring runs it with metrics and a webhook"
        ),
        "kubectl apply --server-side -k manifests/overlays/monitor": _CLUSTER,
    },
    "anchor-the-log.md": {
        "kubectl create secret generic vedette-audit-key --from-file=build/key/audit.pem": _CLUSTER_ADMIN,
        "kubectl create secret generic vedette-audit-key --from-file=build/key-2027 --dry-run=client -o yaml | kubectl apply -f -": (
            _CLUSTER_ADMIN
        ),
        'export VEDETTE_AUDIT_ANCHOR="s3://soc-anchors/vedette?lock=7 file:///mnt/worm/vedette"': (
            "a bucket; tests/contract/serving/anchors runs an S3 server with object lock"
        ),
        "vedette up": _SERVER,
    },
    "roll-out-a-model.md": {
        "vedette rollout get flows --watch": _UNTIL_CTRL_C,
        "vedette rollout get flows --context production --namespace soc": _CLUSTER,
        "kubectl vedette -n soc get flows --watch": _CLUSTER,
        'kubectl vedette promote flows --why "reviewed with the analysts"': _CLUSTER,
    },
    "label-answers.md": {
        "vedette label serve --port 8095": _UNTIL_CTRL_C_LABELS,
        "curl -s http://127.0.0.1:8095/v1/labels -H \"authorization: Bearer $(cat .vedette/keys/labels.token)\" -d "
        '\'{"label_id": "ticket-7", "event": "case-41#0", "verdict": "attack", "analyst": "ada"}\'': _UNTIL_CTRL_C_LABELS,
        "vedette label follow --bootstrap 127.0.0.1:9092 --topic labels": "a broker; tests/integration/labels/test_label_topic.py runs one",
    },
    "stand-beside-kafka-streams.md": {
        ALL: "three programs that run until Ctrl-C; tests/e2e/streams/test_kafka_streams.py compiles the page's programs and runs them"
    },
    "score-in-batch.md": {
        "kubectl apply --server-side -k manifests/overlays/batch": _CLUSTER,
        "kubectl apply --server-side -k manifests/overlays/batch-ray": _CLUSTER,
    },
    "compare-two-models.md": {"vedette experiment get flows --watch": _UNTIL_CTRL_C},
    "retrain-a-model.md": {
        "vedette demo drift --report drift.html": "a server of its own; tests/e2e/demos/test_demo_drift.py plays it, shortened",
        "vedette retrain run flows --policy retraining.yaml --follow": (
            "looks until Ctrl-C; tests/integration/test_retraining.py runs whole trainings"
        ),
    },
    "send-alerts-to-a-siem.md": {
        "vedette sinks run --metrics-port 9106": (
            "a broker, and until Ctrl-C; tests/integration/sinks/test_sink_process.py runs it on one, with metrics"
        ),
        "kubectl create configmap vedette-sinks --from-file=sinks.yaml": _CLUSTER,
        "kubectl create secret generic vedette-sinks --from-file=soar-secret": _CLUSTER,
        "kubectl apply --server-side -k manifests/overlays/sinks": _CLUSTER,
    },
    "plan-capacity.md": {
        "make services": "installs packages",
        "make bench ARGS=capacity": "six minutes; tests/unit/loadtests/test_bench_capacity.py judges its figures",
        "vedette capacity --events-per-day 5e9 --p99 10ms --figures build/bench/capacity-figures.json": "the benchmark writes the file",
        "vedette capacity --events-per-day 5e9 --p99 10ms": "ten seconds of simulation; the second command simulates a smaller plan",
    },
    "scale.md": {
        "vedette up --max-replicas 4": _SERVER,
        "vedette scale simulate --html scaling.html": (
            "computes for long; tests/unit/operators/labs/test_scaling_simulation.py simulates"
        ),
    },
}  # fmt: skip
"""Page, then command -> why it is not played, or what plays it."""


def path_of(page: str) -> Path:
    """Of a how-to, or of a tutorial: no two have one name, the indexes aside."""
    return next(path for folder in (HOW_TO, TUTORIALS) if (path := folder / page).exists())


def played(page: str) -> list[str]:
    """The commands of a page that the tests type, in the page's order."""
    left_out = NOT_PLAYED.get(page, {})
    return [] if ALL in left_out else [c for c in commands(path_of(page)) if " ".join(c.split()) not in left_out]


def outputs(text: str) -> dict[str, list]:
    """An answer's outputs by name."""
    return {output["name"]: output["data"] for output in json.loads(text)["outputs"]}


@dataclass
class Reader:
    """Somebody at a terminal, in a folder. types() gives what a command printed; each must end as expected."""

    folder: Path
    server: Vedette | None = None
    exported: dict[str, str] = field(default_factory=dict)
    typed: list[tuple[str, str]] = field(default_factory=list)

    def makes_files(self, page: str) -> None:
        for name, text in files(path_of(page)).items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def follows(
        self, page: str, *, until: str = "vedette up", then: Mapping[str, Callable[[str], object]] | None = None
    ) -> list[str]:
        """Type a page's commands in order, up to the first that begins so; they must print what the page shows.

        then: what the reader does after a command, told what it printed. Gives what was printed where the page shows it."""
        printed = []
        for shown in outputs_shown(path_of(page)):
            heard = []
            for command in (command for command in shown.commands if command in played(page)):
                if command.startswith(until):
                    return printed
                heard.append(self.hears(page, command))
                if then is not None and command in then:
                    then[command](heard[-1])
            if heard and shown.lines:
                said = "\n".join(heard)
                assert not (missing := shown.differs(said)), f"{page} shows {missing}, but this was said:\n{said[-6000:]}"
                printed.append(said)
        return printed

    def types(self, page: str, command: str, *, ends_with: tuple[int, ...] = (0,)) -> str:
        """One command of a page; what it printed."""
        return self._typed(page, command, ends_with).stdout

    def hears(self, page: str, command: str) -> str:
        """One command of a page; what a terminal would show: notes too, before the output."""
        done = self._typed(page, command, (0,))
        return f"{done.stderr}\n{done.stdout}"

    def _typed(self, page: str, command: str, ends_with: tuple[int, ...]) -> subprocess.CompletedProcess[str]:
        assert command in played(page), f"{page} does not say {command!r}"
        self.typed.append((page, command))
        if command.startswith("export "):
            name, _, value = shlex.split(command)[1].partition("=")
            self.exported.setdefault(name, value)  # a test may have its own there
            return subprocess.CompletedProcess(command, 0, "", "")
        return self._done(command, ends_with)

    def refused(self, command: str) -> str:
        """What a command that must end with 1 says."""
        done = self._run(command)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def says(self, command: str, *, ends_with: tuple[int, ...] = (0,)) -> str:
        """One command line, with this environment's programs and the server's addresses."""
        return self._done(command, ends_with).stdout

    def _done(self, command: str, ends_with: tuple[int, ...]) -> subprocess.CompletedProcess[str]:
        done = self._run(command)
        assert done.returncode in ends_with, (
            f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        )
        return done

    def waits(self, command: str, holds: Callable[[str], bool]) -> None:
        """Look again and again, as somebody does who waits for a thing to begin."""
        until(lambda: holds(self.says(command)), lambda: self.says(command)[-3000:], every_s=0.5)

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        """`vedette` is the warm one."""
        env = environment(**self.exported)
        return subprocess.run(
            ["sh", "-c", self.addressed(command)], capture_output=True, text=True, cwd=self.folder, timeout=300, check=False,
            env={**env, "PATH": f"{warm_vedette.programs()}{os.pathsep}{env['PATH']}"},
        )  # fmt: skip

    def addressed(self, text: str) -> str:
        if self.server is None:
            return text
        return text.replace("http://127.0.0.1:8080", self.server.http).replace(
            "127.0.0.1:8080", self.server.http.removeprefix("http://")
        ).replace("127.0.0.1:8081", self.server.grpc)  # fmt: skip

    def runs_python(self, page: str) -> Iterator[str]:
        """What each Python program of a page prints."""
        for block in blocks(path_of(page)):
            if block.language == "python":
                program = [sys.executable, "-c", self.addressed(block.text)]
                done = subprocess.run(
                    program, capture_output=True, text=True, cwd=self.folder, env=environment(), timeout=120, check=False
                )
                assert done.returncode == 0, f"{page}:\n{block.text}\n{done.stderr[-3000:]}"
                yield done.stdout
