"""`.proto` text to descriptors, for registries that keep text only. protoc comes in a wheel (grpcio-tools) and runs in a process of
its own, once for each schema.

A registry that has `format=serialized` (Confluent, Redpanda from 25.2 on) gives descriptors in base64; Apicurio gives text."""

import subprocess
import sys
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

from serving.stream.codecs.protobuf_codec import ProtobufSchemaProblem

MAIN: Final = "vedette_event.proto"
"""Name of the file that the registry does not name."""
_COMPILE_S: Final = 30.0


def descriptors_of(text: str, references: Mapping[str, str]) -> tuple[FileDescriptorProto, list[FileDescriptorProto]]:
    """The schema's file and the files that it imports. Raises ProtobufSchemaProblem."""
    file = _serialized(MAIN, text)
    others = [_serialized(name, other) for name, other in references.items()]
    if file is not None and None not in others:
        return file, [other for other in others if other is not None]
    if file is not None or any(others):
        raise ProtobufSchemaProblem("the registry has some of the schema's files as descriptors and some as text")
    return _compiled(text, references)


def _serialized(name: str, text: str) -> FileDescriptorProto | None:
    """A descriptor in base64, under the name by which others import it; None if it is text."""
    try:
        file = FileDescriptorProto.FromString(b64decode(text, validate=True))
    except (NotBase64, ValueError, DecodeError):
        return None
    file.name = name
    return file


def _compiled(text: str, references: Mapping[str, str]) -> tuple[FileDescriptorProto, list[FileDescriptorProto]]:
    if find_spec("grpc_tools") is None:
        raise ProtobufSchemaProblem(
            "the registry has the Protobuf schema as text, and protoc is not installed: install vedette[stream], "
            "or set a descriptor set in a file"
        )
    with TemporaryDirectory(prefix="vedette-proto-") as folder:
        root = Path(folder)
        for name, content in {**references, MAIN: text}.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name:
                raise ProtobufSchemaProblem(f"the schema imports {name!r}, which is no relative path")
            path = root / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        out = root / "set.pb"
        arguments = [
            f"-I{root / 'src'}",
            f"-I{files('grpc_tools') / '_proto'}",
            "--include_imports",
            f"--descriptor_set_out={out}",
        ]
        command = [sys.executable, "-m", "grpc_tools.protoc", *arguments, MAIN]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_COMPILE_S, check=False)
        except subprocess.TimeoutExpired as problem:
            raise ProtobufSchemaProblem(f"protoc did not end within {_COMPILE_S:g} s") from problem
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").replace(str(root), "")
            raise ProtobufSchemaProblem(f"protoc does not accept the schema: {words[:400]}")
        compiled = FileDescriptorSet.FromString(out.read_bytes()).file
    return compiled[-1], list(compiled[:-1])
