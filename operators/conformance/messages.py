"""The gRPC messages of the protocol, described here and kept in a descriptor pool of their own.

Generated stubs of other packages register the same names in the process-wide pool and collide there; these cannot. Field
numbers are those of the specification (open_inference_grpc.proto, with the model repository and statistics extensions), of grpc.health.v1
and of grpc.reflection."""

from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INFERENCE: Final = "inference.GRPCInferenceService"
_F = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "bool": _F.TYPE_BOOL,
    "int32": _F.TYPE_INT32,
    "int64": _F.TYPE_INT64,
    "uint32": _F.TYPE_UINT32,
    "uint64": _F.TYPE_UINT64,
    "float": _F.TYPE_FLOAT,
    "double": _F.TYPE_DOUBLE,
}

_INFERENCE: Final = """
ServerLiveRequest
ServerLiveResponse: bool live 1
ServerReadyRequest
ServerReadyResponse: bool ready 1
ModelReadyRequest: string name 1, string version 2
ModelReadyResponse: bool ready 1
ServerMetadataRequest
ServerMetadataResponse: string name 1, string version 2, string* extensions 3
ModelMetadataRequest: string name 1, string version 2
TensorMetadata: string name 1, string datatype 2, int64* shape 3
ModelMetadataResponse: string name 1, string* versions 2, string platform 3, TensorMetadata* inputs 4, TensorMetadata* outputs 5
Parameter: string key 1, Value value 2
Value: bool bool_param 1, int64 int64_param 2, string string_param 3, double double_param 4, uint64 uint64_param 5
Contents: bool* bool_contents 1, int32* int_contents 2, int64* int64_contents 3, uint32* uint_contents 4, \
uint64* uint64_contents 5, float* fp32_contents 6, double* fp64_contents 7, bytes* bytes_contents 8
Tensor: string name 1, string datatype 2, int64* shape 3, Parameter* parameters 4, Contents contents 5
RequestedOutput: string name 1, Parameter* parameters 2
ModelInferRequest: string model_name 1, string model_version 2, string id 3, Parameter* parameters 4, Tensor* inputs 5, \
RequestedOutput* outputs 6, bytes* raw_input_contents 7
ModelInferResponse: string model_name 1, string model_version 2, string id 3, Parameter* parameters 4, Tensor* outputs 5, \
bytes* raw_output_contents 6
StatisticDuration: uint64 count 1, uint64 ns 2
InferStatistics: StatisticDuration success 1, StatisticDuration fail 2
ModelStatisticsRequest: string name 1, string version 2
ModelStatistics: string name 1, string version 2, uint64 last_inference 3, uint64 inference_count 4, uint64 execution_count 5, \
InferStatistics inference_stats 6
ModelStatisticsResponse: ModelStatistics* model_stats 1
RepositoryIndexRequest: string repository_name 1, bool ready 2
ModelIndex: string name 1, string version 2, string state 3, string reason 4
RepositoryIndexResponse: ModelIndex* models 1
RepositoryModelLoadRequest: string repository_name 1, string model_name 2
RepositoryModelUnloadRequest: string repository_name 1, string model_name 2
HealthCheckRequest: string service 1
HealthCheckResponse: int64 status 1
ServerReflectionRequest: string host 1, string file_by_filename 3, string file_containing_symbol 4, string list_services 7
FileDescriptorResponse: bytes* file_descriptor_proto 1
ServiceResponse: string name 1
ListServiceResponse: ServiceResponse* service 1
ServerReflectionResponse: FileDescriptorResponse file_descriptor_response 4, ListServiceResponse list_services_response 6
"""
"""One message a line: its fields as `type name number`; `*` marks a repeated field.

A map travels as repeated entries of key and value, and an enum as a number, so neither needs a word of its own here; nor do
the members of a oneof, and nested message names never travel."""


def _field(text: str) -> descriptor_pb2.FieldDescriptorProto:
    kind, name, number = text.split()
    repeated = kind.endswith("*")
    kind = kind.rstrip("*")
    field = _F(name=name, number=int(number), label=_F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _F.TYPE_MESSAGE, f".conformance.{kind}"
    return field


@cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="conformance.proto", package="conformance", syntax="proto3")
    for line in _INFERENCE.strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        message.field.extend(_field(text) for text in fields.split(",") if text.strip())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


@cache
def message_class(name: str) -> Any:
    """The class of a message by its short name."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"conformance.{name}"))
