"""TensorFlow Serving's REST shape with plain HTTP, as its documentation shows it with curl: `python tensorflow_rest.py URL`.

Prints PASS, or ends with the difference. Nothing but the standard library."""

import json
import sys
import urllib.error
import urllib.request

FIRST, SECOND = list(range(16)), [1] * 16


def ask(url: str, body: object = None) -> tuple[int, dict]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def main(url: str) -> None:
    model = f"{url}/v1/models/simple"
    status, body = ask(model)
    assert status == 200, body
    assert body["model_version_status"][0]["state"] == "AVAILABLE", body
    assert body["model_version_status"][0]["status"]["error_code"] == "OK", body

    status, body = ask(f"{model}/metadata")
    assert (status, body["model_spec"]["name"]) == (200, "simple"), body

    rows = [{"INPUT0": FIRST, "INPUT1": SECOND}]
    for path in (f"{model}:predict", f"{model}/versions/1:predict"):
        status, body = ask(path, {"instances": rows})
        assert status == 200, body
        assert body["predictions"] == [
            {"OUTPUT0": [a + b for a, b in zip(FIRST, SECOND, strict=True)], "OUTPUT1": [a - 1 for a in FIRST]}
        ], body

    status, body = ask(f"{model}:predict", {"inputs": {"INPUT0": [FIRST], "INPUT1": [SECOND]}})
    assert status == 200, body
    assert body["outputs"]["OUTPUT0"] == [[a + 1 for a in FIRST]], body

    for path, sent, expected in (
        (f"{url}/v1/models/wrong_model_name:predict", {"instances": rows}, 404),
        (f"{model}:predict", {"instances": [{"INPUT0": FIRST}]}, 400),
        (f"{model}:predict", {}, 400),
    ):
        status, body = ask(path, sent)
        assert status == expected, (path, status, body)
        assert isinstance(body["error"], str), body
    print("PASS")


if __name__ == "__main__":
    main(sys.argv[1])
