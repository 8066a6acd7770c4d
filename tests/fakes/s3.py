"""An S3 server on loopback (moto's), and the variables by which clients find it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

BUCKET = "models"


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address. In the block fsspec and boto3 talk to it; the bucket `models` is there and empty."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    told = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with patch.dict(os.environ, told):
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield told["AWS_ENDPOINT_URL"]
    finally:
        server.stop()
