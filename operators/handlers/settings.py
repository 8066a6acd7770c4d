"""The one settings object of the operator, read once in operators.handlers.main and handed down in parts.

Every field is an environment variable `VEDETTE_OPERATOR_<FIELD>`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]


class OperatorSettings(BaseSettings):
    """Settings of the operator."""

    model_config = SettingsConfigDict(
        env_prefix="VEDETTE_OPERATOR_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    namespaces: str = ""
    """Namespaces to look after, separated by commas; empty: all of the cluster. A list needs a Role in each, no ClusterRole."""
    kubeconfig: Path | None = None
    """Kubeconfig file; unset: the usual kubeconfig if there is one, else the pod's service account."""
    rest_interval_s: PositiveFloat = 30.0
    """Seconds between two looks at a service where nothing is under way. A change of the resource is looked at at once."""
    active_interval_s: PositiveFloat = 5.0
    """Seconds between two looks at a rollout or experiment under way, and at a service that is scaled by load."""
    jitter_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """How far looks are spread around their interval, so that services are not all looked at together."""
    workers: PositiveInt = 16
    """Looks under way at once."""
    backoff_first_s: PositiveFloat = 1.0
    """Seconds until a look that failed is tried again; doubled with each failure in a row."""
    backoff_most_s: PositiveFloat = 300.0
    """The most seconds between two tries."""
    record_interval_s: PositiveFloat = 15.0
    """While a rollout is under way, e-values and counts that changed nothing else are written at most this often. If an operator is killed,
    the next one computes the unwritten part again from the same counters."""
    quiet_interval_s: PositiveFloat = 300.0
    """The same where nothing is under way."""
    act_timeout_s: PositiveFloat | None = None
    """How long one act on a backend may take in all; less than lease_duration_s - lease_renew_s, so that it is over before another
    operator acts. Unset: 0.8 of that."""
    watch_check_interval_s: PositiveFloat = 10.0
    """How often the API server is asked whether both kinds of resource can still be listed; the operator is ready while they can."""
    evidence: Literal["metrics", "prometheus"] = "metrics"
    """Where evidence comes from: the pods' own `/metrics`, or a Prometheus server."""
    scrape_timeout_s: PositiveFloat = 3.0
    """How long one pod may take to answer `/metrics`."""
    prometheus_url: str = ""
    """Base URL of the Prometheus server, e.g. `http://prometheus.monitoring:9090`."""
    prometheus_matchers: str = 'namespace="{namespace}"'
    """PromQL label matchers of a service's replicas; `{namespace}` and `{name}` are filled in."""
    prometheus_token_file: Path | None = None
    """File with a bearer token for Prometheus; read again for each look."""
    prometheus_max_age_s: PositiveFloat = 60.0
    """Samples older than this do not count."""
    leader_election: bool = True
    """Whether only one of several operators acts."""
    lease_name: str = "vedette-operator"
    """Name of the Lease that they share."""
    lease_namespace: str = ""
    """Its namespace; empty: the operator's own."""
    lease_duration_s: PositiveFloat = 15.0
    """After this long without a renewal another operator takes over."""
    lease_renew_s: PositiveFloat = 10.0
    """An operator that could not renew for this long stops acting; less than lease_duration_s."""
    lease_retry_s: PositiveFloat = 2.0
    """Seconds between two tries to get or renew the Lease."""
    identity: str = ""
    """Name of this operator in the Lease; a part that is unique to the process is appended. Empty: the host's name, in a pod the pod's."""
    http_host: str = "0.0.0.0"  # noqa: S104 - in a pod
    """Address of /healthz, /readyz and /metrics."""
    http_port: Port = 8090
    """Their port; 0: none."""
    webhook_port: Port = 0
    """Port of the admission webhook; 0: none."""
    webhook_cert_dir: Path = Path("/etc/vedette/webhook")
    """Folder with the webhook's tls.crt and tls.key, as cert-manager writes them; read again when they change."""
    people_file: Path | None = None
    """File of people: who may approve, in which roles, by which keys, as a ConfigMap or Secret mounts it; read again when it changes."""
    governance_dir: Path | None = None
    """Folder of the log of governed acts, on a volume that every operator has. Unset: none is kept, and Events tell people."""
    governance_key: Path | None = None
    """PEM file of the key that signs that log's checkpoints, as a Secret mounts it; read again when it changes."""
    startup_spread_s: NonNegativeFloat = 5.0
    """After a start (or on becoming leader) the first looks are spread over this long."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Level of the log on stderr."""

    @model_validator(mode="after")
    def _acts_end_before_another_leads(self) -> "OperatorSettings":
        left_s = self.lease_duration_s - self.lease_renew_s
        if self.leader_election and self.act_timeout_s is not None and self.act_timeout_s >= left_s:
            raise ValueError(
                f"act_timeout_s is {self.act_timeout_s:g}, and lease_duration_s {self.lease_duration_s:g} less lease_renew_s "
                f"{self.lease_renew_s:g} leaves {left_s:g}; an act could land while another operator leads: write less, e.g. "
                f"{left_s * 0.8:g}"
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
