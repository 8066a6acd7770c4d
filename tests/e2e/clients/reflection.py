"""What grpcurl does, by the public reflection client: list, describe, then call with nothing but what the server described.

`python reflection.py HOST:PORT`. Prints PASS, or ends with the difference."""

import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "inference.GRPCInferenceService"


def main(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        assert {SERVICE, "grpc.health.v1.Health"} <= services, services
        pool = descriptor_pool.DescriptorPool(database)

        def call(service: str, verb: str, /, **asked: object) -> dict:
            method = pool.FindServiceByName(service).FindMethodByName(verb)
            request = json_format.ParseDict(asked, message_factory.GetMessageClass(method.input_type)())
            made = channel.unary_unary(
                f"/{service}/{verb}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
            )
            return json_format.MessageToDict(made(request, timeout=10), preserving_proto_field_name=True)

        described = {method.name for method in pool.FindServiceByName(SERVICE).methods}
        assert {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"} <= described
        assert call(SERVICE, "ServerReady") == {"ready": True}
        assert call(SERVICE, "ModelMetadata", name="simple")["platform"] == "onnx_onnxv1"
        assert call("grpc.health.v1.Health", "Check", service="") == {"status": "SERVING"}
        tensors = [
            {"name": name, "datatype": "INT32", "shape": [1, 16], "contents": {"int_contents": values}}
            for name, values in (("INPUT0", list(range(16))), ("INPUT1", [1] * 16))
        ]
        outputs = {o["name"]: o for o in call(SERVICE, "ModelInfer", model_name="simple", inputs=tensors)["outputs"]}
        assert outputs["OUTPUT0"]["contents"]["int_contents"] == [n + 1 for n in range(16)], outputs
        assert outputs["OUTPUT1"]["contents"]["int_contents"] == [n - 1 for n in range(16)], outputs
    print("PASS")


if __name__ == "__main__":
    main(sys.argv[1])
