"""Where a registry can be: a folder, memory, S3."""

import secrets

import pytest

from tests.fakes.s3 import BUCKET, s3_server


@pytest.fixture(scope="session")
def s3():
    with s3_server() as address:
        yield address


FOLDER_AND_S3 = ["folder", pytest.param("s3", marks=pytest.mark.integration)]


@pytest.fixture(params=[*FOLDER_AND_S3, "memory"])
def url(request, tmp_path):
    own = secrets.token_hex(6)
    if request.param == "folder":
        return str(tmp_path / "registry")
    if request.param == "memory":
        return f"memory://{own}"
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{own}"
