"""Opens the other registry that a text names. Its adapter, and the client that the adapter needs, are imported on demand."""

from pathlib import Path

from lifecycle.governance.registry.errors import RegistryError
from lifecycle.governance.registry.exchange.port import ModelExchange


def open_exchange(text: str) -> ModelExchange:
    """The other registry that `mlflow=URL` or `wandb=FOLDER` names. Raises RegistryError, also if its client is not installed."""
    kind, _, where = text.partition("=")
    if kind not in ("mlflow", "wandb") or not where:
        raise RegistryError(f"{text!r}: expected mlflow=URL, e.g. mlflow=http://127.0.0.1:5000, or wandb=FOLDER")
    try:
        if kind == "mlflow":
            from lifecycle.governance.registry.exchange.mlflow import MlflowExchange

            return MlflowExchange(where)
        from lifecycle.governance.registry.exchange.wandb import WandbExchange

        return WandbExchange(Path(where))
    except ImportError as problem:
        raise RegistryError(f"{text}: {problem}; install vedette[{kind}]") from problem
