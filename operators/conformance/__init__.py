"""An Open Inference Protocol v2 conformance kit, for any server that speaks HTTP, gRPC or both.

The core (checks, encodings, judgement) is pure: a check names the calls to make and judges the replies. `transport` makes
the calls, `discovery` finds out what there is to check, `run` goes through the checks. Nothing here imports serving's codecs,
so that a defect of theirs cannot hide itself."""
