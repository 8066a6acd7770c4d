"""What a test holds of an API server, the fake or a real one: its address, its kubeconfig, ways to call it."""

import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests import quick_yaml as yaml
from tests.fakes.apiserver.certificates import lenient

Json = dict[str, Any]


class Handle:
    """An API server that was started.

    url: https://127.0.0.1:PORT. authority: path of its CA certificate. token: an administrator's. folder: temporary, its own.
    certificate: paths of a client certificate and its key, where the administrator has these in place of a token.
    real: whether this is a real kube-apiserver. collects_garbage: whether owners' dependents and namespaces are cleaned up.
    """

    url: str
    token: str
    authority: Path
    folder: Path
    certificate: tuple[Path, Path] | None = None
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
            "users": [{"name": name, "user": self._user(token)}],
            "contexts": [{"name": "test", "context": context}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def _user(self, token: str) -> Json:
        if token or not self.certificate:
            return {"token": token or self.token}
        return {"client-certificate": str(self.certificate[0]), "client-key": str(self.certificate[1])}

    def http(self, token: str = "", **headers: str) -> httpx.Client:
        """An HTTP client of the server; close it, or use it in `with`."""
        said = {"Authorization": f"Bearer {token or self.token}"} if token or self.token else {}
        trusted = lenient(ssl.create_default_context(cafile=str(self.authority)))
        if not said and self.certificate:
            trusted.load_cert_chain(*self.certificate)
        return httpx.Client(
            base_url=self.url, headers={"User-Agent": "contract/1.0", **said, **headers}, verify=trusted, timeout=30
        )

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
