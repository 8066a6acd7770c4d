"""The one settings object of the operator, read once in operators.handlers.main and handed down in parts.

Every field is an environment variable `VEDETTE_OPERATOR_<FIELD>`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import SettingsConfigDict

from serving.settings import EnvironmentSettings

Port = Annotated[int, Field(ge=0, le=65535)]


class OperatorSettings(EnvironmentSettings):
    """Settings of the operator."""

    model_config = SettingsConfigDict(
        env_prefix="VEDETTE_OPERATOR_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    namespaces: str = ""
    """Namespaces that the operator manages, separated by commas. Empty: all namespaces. A list needs a Role in each namespace and no
    ClusterRole."""
    kubeconfig: Path | None = None
    """Kubeconfig file. Unset: the default kubeconfig if it exists, else the pod's service account."""
    rest_interval_s: PositiveFloat = 30.0
    """Seconds between two looks at a service without a rollout or experiment under way. A change of the resource causes a look at
    once."""
    active_interval_s: PositiveFloat = 5.0
    """Seconds between two looks at a service with a rollout or experiment under way, or that is scaled by load."""
    jitter_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Random spread of the looks around their interval, as a share of it. It keeps the looks at different services apart."""
    workers: PositiveInt = 16
    """Maximum number of looks under way at once."""
    backoff_first_s: PositiveFloat = 1.0
    """Seconds until a failed look is tried again. The time doubles with each failure in a row."""
    backoff_most_s: PositiveFloat = 300.0
    """Maximum number of seconds between two tries."""
    record_interval_s: PositiveFloat = 15.0
    """Minimum interval between two writes of e-values and counts during a rollout, if nothing else in the status changed. If an
    operator is killed, the next one computes the unwritten part again from the same counters."""
    quiet_interval_s: PositiveFloat = 300.0
    """The same interval while no rollout or experiment is under way."""
    act_timeout_s: PositiveFloat | None = None
    """Timeout of one act on a backend. It must be less than lease_duration_s - lease_renew_s, so that the act ends before another
    operator acts. Unset: 0.8 times that difference."""
    watch_check_interval_s: PositiveFloat = 10.0
    """Interval between checks that the API server still lists both kinds of resource. The operator is ready while it does."""
    evidence: Literal["metrics", "prometheus"] = "metrics"
    """Source of evidence: `/metrics` of the pods, or a Prometheus server."""
    scrape_timeout_s: PositiveFloat = 3.0
    """Timeout of one request for a pod's `/metrics`."""
    pod_ca: Path | None = None
    """PEM file of the CA that signed the replicas' certificates. Set: pods are asked over TLS (docs/how-to/serve-over-tls.md). Unset:
    plainly."""
    pod_name: str = "vedette"
    """Name that the replicas' certificates are for. Pods are asked by their address, which no certificate has."""
    pod_cert: Path | None = None
    """PEM file of the operator's own certificate, where replicas ask for one. It needs `VEDETTE_OPERATOR_POD_KEY`."""
    pod_key: Path | None = None
    """PEM file of its key."""
    prometheus_url: str = ""
    """Base URL of the Prometheus server, e.g. `http://prometheus.monitoring:9090`."""
    prometheus_matchers: str = 'namespace="{namespace}"'
    """PromQL label matchers that select a service's replicas. `{namespace}` and `{name}` are replaced."""
    prometheus_token_file: Path | None = None
    """File with the bearer token for Prometheus. The file is read again for each look."""
    prometheus_max_age_s: PositiveFloat = 60.0
    """Maximum age of a sample. Older samples are ignored."""
    labels_url: str = ""
    """Base URL of a label server (`vedette label serve`), for the gates `precision` and `recall`. Empty: these gates stay undecided."""
    replica_token_file: Path | None = None
    """File with the bearer token for replicas whose doors are guarded (docs/reference/access.md). It is read again for each look. Unset:
    no token is sent."""
    labels_token_file: Path | None = None
    """File with the bearer token of the label server. The file is read again for each look."""
    leader_election: bool = True
    """Whether only one of several operators acts."""
    lease_name: str = "vedette-operator"
    """Name of the Lease that the operators share."""
    lease_namespace: str = ""
    """Namespace of the Lease. Empty: the operator's namespace."""
    lease_duration_s: PositiveFloat = 15.0
    """Time without a renewal after which another operator takes over."""
    lease_renew_s: PositiveFloat = 10.0
    """Time after which an operator that cannot renew the Lease stops acting. It must be less than lease_duration_s."""
    lease_retry_s: PositiveFloat = 2.0
    """Seconds between two tries to get or renew the Lease."""
    identity: str = ""
    """Name of this operator in the Lease. A suffix that is unique to the process is appended. Empty: the name of the host or pod."""
    http_host: str = "0.0.0.0"  # noqa: S104  # nosec B104  # in a pod
    """Address of /healthz, /readyz and /metrics."""
    http_port: Port = 8090
    """Port of /healthz, /readyz and /metrics. 0: none."""
    webhook_port: Port = 0
    """Port of the admission webhook; 0: none."""
    webhook_cert_dir: Path = Path("/etc/vedette/webhook")
    """Folder with the webhook's tls.crt and tls.key, as cert-manager writes them. The files are read again when they change."""
    notify_url: str = ""
    """URL that gets notices by HTTP POST until it answers 2xx: rollouts that were aborted, that wait for an approval, or that are stuck.
    Empty: no notices are sent."""
    notify_secret_file: Path | None = None
    """File with the secret that signs these messages (Standard Webhooks), a line each while it is rotated. Unset: they are not signed."""
    people_file: Path | None = None
    """File of people (a mounted ConfigMap or Secret): who may approve, in which roles, with which keys. It is read again when it
    changes."""
    governance_dir: Path | None = None
    """Folder of the log of governed acts, on a volume that every operator mounts. Unset: no log is kept; acts appear as Events only."""
    governance_key: Path | None = None
    """PEM file of the key (a mounted Secret) that signs the checkpoints of the log of governed acts. It is read again when it
    changes."""
    startup_spread_s: NonNegativeFloat = 5.0
    """Time over which the first looks are spread after a start or after becoming leader."""
    otlp_endpoint: str | None = None
    """URL of the OpenTelemetry collector that gets a span of each look, e.g. `http://127.0.0.1:4318`. Unset: there are no spans."""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of looks to trace."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Level of the log on stderr."""

    @model_validator(mode="after")
    def _acts_end_before_another_leads(self) -> "OperatorSettings":
        left_s = self.lease_duration_s - self.lease_renew_s
        if self.leader_election and self.act_timeout_s is not None and self.act_timeout_s >= left_s:
            raise ValueError(
                f"act_timeout_s is {self.act_timeout_s:g}, expected less than {left_s:g}, which is lease_duration_s "
                f"{self.lease_duration_s:g} minus lease_renew_s {self.lease_renew_s:g}; otherwise an act could take effect while another "
                f"operator leads: write e.g. {left_s * 0.8:g}"
            )
        return self

    @property
    def act_limit_s(self) -> float:
        """How long one act may take."""
        return self.act_timeout_s or 0.8 * max(0.1, self.lease_duration_s - self.lease_renew_s)

    @property
    def namespace_list(self) -> tuple[str, ...]:
        """The namespaces by name; empty: all."""
        return tuple(n.strip() for n in self.namespaces.split(",") if n.strip())
