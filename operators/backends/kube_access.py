"""Address and credentials of a cluster: from a kubeconfig, or from the service account of the pod this runs in.

The official client's loader reads both, so tokens, client certificates, `exec` plugins and auth providers work as everywhere.
operators.backends.kube makes the requests."""

import ssl
from copy import copy
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from kubernetes import client as official
from kubernetes import config as official_config
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.config import kube_config

from operators.backends.kube import Access, KubeError
from serving.tls_trust import client_trust

_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_MALFORMED: Final = (
    official_config.ConfigException,
    OSError,
    yaml.YAMLError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What the loader raises for files that are missing, unreadable or not a kubeconfig."""


def access(kubeconfig: Path | None = None, context: str | None = None) -> Access:
    """By the kubeconfig that is named, else by the usual one (KUBECONFIG or ~/.kube/config), else by the pod's service account.

    context: of the kubeconfig; None: its current one. The pod's account is taken only if nothing is named and there is no kubeconfig.
    Raises KubeError with the way out."""
    where = str(kubeconfig) if kubeconfig is not None else kube_config.KUBE_CONFIG_DEFAULT_LOCATION
    try:
        merged = kube_config.KubeConfigMerger(where)
        if merged.config is None and kubeconfig is None and context is None:
            return _of_pod(where)
        if merged.config is None:
            raise official_config.ConfigException("there is no such file")
        return _of_context(merged, context)
    except _MALFORMED as problem:
        words = str(problem).split("{", 1)[0]  # the loader cites whole entries, with their tokens
        raise KubeError(
            f"no cluster to talk to: {where}: {words}; set KUBECONFIG, or name a kubeconfig and its context"
        ) from problem


def with_token(reached: Access, token: str) -> Access:
    """The same API server, reached with this bearer token alone: no client certificate, no token of the kubeconfig."""
    found = copy(reached.official)
    found.cert_file = found.key_file = found.username = found.password = None
    found.api_key, found.api_key_prefix, found.refresh_api_key_hook = {}, {}, None
    return reached._replace(tls=_tls(found), header=lambda: f"Bearer {token}", official=found)


def _of_context(merged: Any, context: str | None) -> Access:
    found = official.Configuration()
    loader = kube_config.KubeConfigLoader(
        config_dict=merged.config, active_context=context, config_base_path=None, config_persister=merged.save_changes
    )
    loader.load_and_set(found)
    return _access(found, loader.current_context["context"].get("namespace") or "default", _proxy(found))


def _of_pod(where: str) -> Access:
    found = official.Configuration()
    try:
        official_config.load_incluster_config(found)
    except official_config.ConfigException as problem:
        raise official_config.ConfigException(f"there is no such file, and this is not a pod ({problem})") from problem
    namespace = _POD_NAMESPACE.read_text(encoding="utf-8").strip() if _POD_NAMESPACE.is_file() else "default"
    return _access(found, namespace, None)  # a pod reaches its API server without a proxy


def _access(found: Any, namespace: str, proxy: str | None) -> Access:
    name = found.tls_server_name or None
    return Access(found.host.rstrip("/"), _tls(found), lambda: _header(found), found, namespace, proxy, name)


def _header(found: Any) -> str | None:
    value: str | None = found.get_api_key_with_prefix("BearerToken", alias="authorization")
    if value is None and found.username:
        value = found.get_basic_auth_token()
    return value


def _tls(found: Any) -> ssl.SSLContext | None:
    if not found.host.startswith("https"):
        return None
    tls = client_trust(found.ssl_ca_cert)
    if not found.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if found.cert_file:
        tls.load_cert_chain(found.cert_file, found.key_file)
    return tls


def _proxy(found: Any) -> str | None:
    """The cluster's `proxy-url`, else HTTPS_PROXY and NO_PROXY of the environment. Raises ConfigException: not an HTTP proxy."""
    if not found.proxy or should_bypass_proxies(found.host, found.no_proxy or ""):
        return None
    scheme = urlsplit(found.proxy).scheme
    if scheme not in {"http", "https"}:
        raise official_config.ConfigException(f"its proxy speaks {scheme or 'an unknown protocol'}; give one that speaks HTTP")
    proxy: str = found.proxy
    return proxy
