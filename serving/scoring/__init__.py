"""The core of the data plane: request -> variant -> features -> scores -> verdict.

It asks for features, model runs, rules, explanations, the cache and the time by the protocols in serving.ports. What it counts, traces and
records it hands to serving.telemetry and serving.audit as they are, without a protocol between: that is on the path of every request."""
