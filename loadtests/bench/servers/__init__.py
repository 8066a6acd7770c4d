"""The servers under test, each a program: `python -m loadtests.bench.servers.NAME --model FILE --http-port N --grpc-port N`.

Each answers POST /v2/models/bench/infer and ModelInfer with the same model; SIGTERM stops it. They share only the protocol's messages,
so each is written as its own documentation says."""
