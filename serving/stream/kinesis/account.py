"""How AWS is reached, and what its errors mean. The one module that imports boto3."""

from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from serving.stream.ports import StreamError

AwsError = (BotoCoreError, ClientError)
"""What calls of the clients raise."""
PASSING: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "InternalFailure",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionInProgressException",
        "ConnectionError",
    }
)
"""Trying again helps."""
_WAYS_OUT: Final = {
    "ResourceNotFoundException": "create the stream, or check its name and the region",
    "AccessDeniedException": "grant this role the action on the stream or on the table of the leases",
    "UnrecognizedClientException": "check the credentials of this process",
    "ExpiredTokenException": "renew the credentials of this process",
}


@dataclass(frozen=True, slots=True)
class AwsPlace:
    """A region. endpoint: None for AWS's own. Credentials come as for any AWS client."""

    region: str
    endpoint: str | None = None

    def client(self, service: str) -> Any:
        """A client of one service. Raises StreamError."""
        try:
            retries = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=5, read_timeout=10)
            return boto3.client(service, region_name=self.region, endpoint_url=self.endpoint, config=retries)
        except AwsError as problem:
            raise self.error(problem, f"open {service}") from problem

    def error(self, problem: Exception, doing: str, kind: type[StreamError] = StreamError) -> StreamError:
        """What happened, where, and the way out."""
        way_out = _WAYS_OUT.get(code_of(problem))
        return kind(f"kinesis in {self.region}: {doing}: {problem}" + (f"; {way_out}" if way_out else ""))


def code_of(problem: Exception) -> str:
    """The name of an error; `ConnectionError` where AWS was not reached."""
    if isinstance(problem, ClientError):
        return str(problem.response.get("Error", {}).get("Code", ""))
    return "ConnectionError"
