"""What a test holds of an API server, the fake or a real one: its address, its kubeconfig, ways to call it."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

Json = dict[str, Any]


class Handle:
    """An API server that was started.

    url: https://127.0.0.1:PORT. authority: path of its CA certificate. token: an administrator's. folder: temporary, its own.
    real: whether this is a real kube-apiserver. collects_garbage: whether owners' dependents and namespaces are cleaned up.
    """

    url: str
    token: str
    authority: Path
    folder: Path
    real: bool
    collects_garbage: bool

    def start(self) -> Self:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def kubeconfig(self, token: str = "", name: str = "admin", namespace: str = "default") -> Path:
        """Write a kubeconfig for a token (the administrator's when left out); answers its path."""
        path = self.folder / f"{name}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        context = {"cluster": "test", "user": name, "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token or self.token}}],
            "contexts": [{"name": "test", "context": context}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def http(self, token: str = "", **headers: str) -> httpx.Client:
        """An HTTP client of the server; close it, or use it in `with`."""
        given = {"Authorization": f"Bearer {token or self.token}", "User-Agent": "contract/1.0", **headers}
        return httpx.Client(base_url=self.url, headers=given, verify=str(self.authority), timeout=30)

    def api_client(self, token: str = "") -> Any:
        """A configured kubernetes.client.ApiClient."""
        from kubernetes import client

        config = client.Configuration(host=self.url)
        config.ssl_ca_cert = str(self.authority)
        config.api_key = {"authorization": token or self.token}
        config.api_key_prefix = {"authorization": "Bearer"}
        return client.ApiClient(config)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        import asyncio

        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.stop)
