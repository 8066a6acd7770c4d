"""A small, right HTTP server for the model `simple`, as a function of calls: what the conformance kit is held against.

`defect` changes its replies, to see that the kit finds out."""

import json
from collections.abc import Callable
from math import prod

from operators.conformance.exchange import Call, HttpCall, HttpReply, NoReply, Reply

Defect = Callable[[HttpCall, HttpReply], Reply]
SHAPE = [1, 16]
LIMITS = (-(2**31), 2**31 - 1)
METADATA = {
    "name": "simple",
    "versions": ["1"],
    "platform": "onnx_onnxv1",
    "inputs": [{"name": n, "datatype": "INT32", "shape": SHAPE} for n in ("INPUT0", "INPUT1")],
    "outputs": [{"name": n, "datatype": "INT32", "shape": SHAPE} for n in ("OUTPUT0", "OUTPUT1")],
}


class Refused(Exception):
    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def need(ok: bool, problem: str) -> None:
    if not ok:
        raise Refused(problem)


class SimpleServer:
    """Answers like a server; `send` is what the kit is given for a transport."""

    def __init__(self, defect: Defect | None = None) -> None:
        self._defect = defect

    def send(self, call: Call) -> Reply:
        if not isinstance(call, HttpCall):
            return NoReply("this server has no gRPC door")
        try:
            status, body = 200, self._answer(call)
        except Refused as refused:
            status, body = refused.status, {"error": str(refused)}
        reply = HttpReply(status, {"content-type": "application/json"}, json.dumps(body).encode())
        return self._defect(call, reply) if self._defect else reply

    def _answer(self, call: HttpCall) -> object:
        match call.method, call.path.strip("/").split("/")[1:]:
            case "GET", []:
                return {"name": "fake", "version": "1", "extensions": ["model_repository"]}
            case "GET", ["health", "live"]:
                return {"live": True}
            case "GET", ["health", "ready"]:
                return {"ready": True}
            case "POST", ["repository", "index"]:
                parse(call.body)
                return [{"name": "simple", "version": "1", "state": "READY", "reason": ""}]
            case "POST", ["repository", "models", name, _]:
                need_model(name)
                return {}
            case method, ["models", name, "versions", version, *verb]:
                need_model(name, version)
                return self._of_model(method, verb, call.body)
            case method, ["models", name, *verb]:
                need_model(name)
                return self._of_model(method, verb, call.body)
        raise Refused("no such path", 404)

    def _of_model(self, method: str, verb: list[str], body: bytes | None) -> object:
        match method, verb:
            case "GET", []:
                return METADATA
            case "GET", ["ready"]:
                return {"name": "simple", "ready": True}
            case "POST", ["infer"]:
                return infer(parse(body))
            case _, ["infer"]:
                raise Refused("use POST", 405)
        raise Refused("no such path", 404)


def need_model(name: str, version: str = "1") -> None:
    if (name, version) != ("simple", "1"):
        raise Refused(f"no model {name} version {version}", 404)


def parse(body: bytes | None) -> dict:
    try:
        parsed = json.loads((body or b"").decode())
    except (ValueError, RecursionError) as error:
        raise Refused(f"not JSON: {error}") from error
    need(isinstance(parsed, dict), "the body must be an object")
    return parsed


def infer(request: dict) -> object:
    need(isinstance(request.get("id", ""), str), "id must be a string")
    need(isinstance(request.get("parameters", {}), dict), "parameters must be an object")
    need(isinstance(request.get("inputs"), list), "inputs must be a list")
    need(all(isinstance(i, dict) for i in request["inputs"]), "inputs must hold objects")
    need(isinstance(request.get("outputs", []), list), "outputs must be a list")
    columns = {i.get("name"): column(i) for i in request["inputs"]}
    need(len(request["inputs"]) == 2 and set(columns) == {"INPUT0", "INPUT1"}, "two inputs are needed")
    pairs = list(zip(columns["INPUT0"], columns["INPUT1"], strict=True))
    made = {"OUTPUT0": [a + b for a, b in pairs], "OUTPUT1": [a - b for a, b in pairs]}
    wanted = [o["name"] for o in request.get("outputs", [])] or list(made)
    need(set(wanted) <= set(made), "no such output")
    outputs = [{"name": n, "shape": SHAPE, "datatype": "INT32", "data": made[n]} for n in wanted]
    return {"model_name": "simple", "model_version": "1", "id": request.get("id", ""), "outputs": outputs}


def column(described: dict) -> list[int]:
    need(described.get("datatype") == "INT32", "datatype must be INT32")
    need(described.get("shape") == SHAPE, f"shape must be {SHAPE}")
    data = described.get("data")
    need(isinstance(data, list), "data must be a list")
    if len(data) == 1 and isinstance(data[0], list):
        (data,) = data
    need(len(data) == prod(SHAPE) and all(type(e) is int for e in data), "16 integers are needed")
    need(all(LIMITS[0] <= e <= LIMITS[1] for e in data), "out of range")
    return data
