"""The Open Inference Protocol's protobuf messages and gRPC methods, without importing the kserve package around them.

`import kserve` takes seconds and a web framework; its generated messages are one file that needs only protobuf."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import grpc

SERVICE: Final = "inference.GRPCInferenceService"


def _load_messages() -> ModuleType:
    name = "grpc_predict_v2_pb2"  # what the messages call their module; pickling them (Ray does) looks it up by that name
    if name in sys.modules:
        return sys.modules[name]
    package = importlib.util.find_spec("kserve")
    if package is None or not package.submodule_search_locations:
        raise ImportError("kserve is not installed: it carries the protocol's protobuf messages")
    path = Path(package.submodule_search_locations[0], "protocol", "grpc", "grpc_predict_v2_pb2.py")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


messages: Final = _load_messages()


def infer_call(channel: grpc.Channel | grpc.aio.Channel) -> Callable[..., Any]:
    """The ModelInfer method of a channel (blocking channels return the response, aio channels an awaitable)."""
    return channel.unary_unary(  # type: ignore[no-any-return]
        f"/{SERVICE}/ModelInfer",
        request_serializer=messages.ModelInferRequest.SerializeToString,
        response_deserializer=messages.ModelInferResponse.FromString,
    )


def add_infer_to_server(servicer: Any, server: Any) -> None:
    """Register `servicer.ModelInfer`, as the generated function of a service with this one method would."""
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.ModelInfer,
        request_deserializer=messages.ModelInferRequest.FromString,
        response_serializer=messages.ModelInferResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": handler}),))
