"""The servers under test, each a program: `python -m loadtests.bench.servers.NAME --model FILE --http-port N --grpc-port N`.

Each answers POST /v2/models/bench/infer and ModelInfer with the same model; SIGTERM stops it. They share no code but the
protocol's messages, so that each is as its own documentation would have it."""
