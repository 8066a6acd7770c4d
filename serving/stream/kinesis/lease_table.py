"""The leases in DynamoDB: one table for a group, a line for each shard of each stream. Every change states what it expects to find."""

from collections.abc import Mapping
from typing import Any, Final

from serving.stream.kinesis.account import AwsError, AwsPlace, code_of
from serving.stream.kinesis.leases import Lease
from serving.stream.ports import Fenced, Position

TOGETHER: Final = 100
"""Lines in one transaction of DynamoDB."""
_NAMES: Final = {"#h": "holder", "#c": "counter", "#w": "wanted"}


class LeaseTable:
    """me: the worker's name in the table, of this run only."""

    def __init__(self, place: AwsPlace, table: str, me: str) -> None:
        self._place, self._table, self.me = place, table, me
        self._dynamo = place.client("dynamodb")

    def ensure(self) -> None:
        """Make the table where it is missing. Raises StreamError."""
        try:
            self._dynamo.create_table(
                TableName=self._table,
                KeySchema=[{"AttributeName": "stream", "KeyType": "HASH"}, {"AttributeName": "number", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": "stream", "AttributeType": "S"},
                    {"AttributeName": "number", "AttributeType": "N"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        except AwsError as problem:
            if code_of(problem) != "ResourceInUseException":
                raise self._place.error(problem, f"create table {self._table}") from problem
        try:
            self._dynamo.get_waiter("table_exists").wait(TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        except AwsError as problem:
            raise self._place.error(problem, f"wait for table {self._table}") from problem

    def read(self, stream: str) -> dict[int, Lease]:
        """The leases of a stream. Raises AwsError."""
        found: dict[int, Lease] = {}
        pages = self._dynamo.get_paginator("query").paginate(
            TableName=self._table,
            ConsistentRead=True,
            KeyConditionExpression="#s = :s",
            ExpressionAttributeNames={"#s": "stream"},
            ExpressionAttributeValues={":s": {"S": stream}},
        )
        for page in pages:
            for item in page["Items"]:
                lease = _lease(item)
                found[lease.shard] = lease
        return found

    def add(self, stream: str, shard: int) -> None:
        """A line for a new shard, unless another worker was faster. Raises AwsError."""
        item = {**_key(stream, shard), "holder": {"S": ""}, "counter": {"N": "0"}, "wanted": {"S": ""}}
        self._conditionally(
            "put_item", Item=item, ConditionExpression="attribute_not_exists(#s)", ExpressionAttributeNames={"#s": "stream"}
        )

    def take(self, stream: str, lease: Lease) -> bool:
        """Become the holder, if the lease is as it was seen. Raises AwsError."""
        return self._update(
            stream, lease.shard, "SET #h = :me, #w = :none ADD #c :one", "#c = :seen AND #h = :holder",
            {":one": {"N": "1"}, ":none": {"S": ""}, ":seen": {"N": str(lease.counter)}, ":holder": {"S": lease.holder}},
        )  # fmt: skip

    def renew(self, stream: str, shard: int) -> bool:
        """Show that the holder lives; False: it is another one. Raises AwsError."""
        return self._update(stream, shard, "ADD #c :one", "#h = :me", {":one": {"N": "1"}})

    def ask(self, stream: str, lease: Lease) -> bool:
        """Ask the holder for the shard. Raises AwsError."""
        return self._update(
            stream,
            lease.shard,
            "SET #w = :me",
            "#h = :holder AND #w = :none",
            {":holder": {"S": lease.holder}, ":none": {"S": ""}},
        )

    def release(self, stream: str, shard: int) -> bool:
        """Hold it no longer. Raises AwsError."""
        return self._update(stream, shard, "SET #h = :none, #w = :none", "#h = :me", {":none": {"S": ""}})

    def commit(self, stream: str, positions: Mapping[int, tuple[Position, str, bool]]) -> None:
        """Record positions, what comes before them, and whether the shard is dealt with; of up to TOGETHER shards all or none.

        Raises Fenced, AwsError."""
        changes = [self._change(stream, shard, *what) for shard, what in positions.items()]
        for at in range(0, len(changes), TOGETHER):
            try:
                self._dynamo.transact_write_items(TransactItems=changes[at : at + TOGETHER])
            except self._dynamo.exceptions.TransactionCanceledException as problem:
                if "ConditionalCheckFailed" not in str(problem):
                    raise
                why = "another worker holds a shard of this batch now"
                raise self._place.error(problem, f"commit to {self._table}: {why}", Fenced) from problem

    def _change(self, stream: str, shard: int, position: Position, after: str, is_ended: bool) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(stream, shard),
                "UpdateExpression": "SET #p = :p, #n = :n, #a = :a, #e = :e",
                "ConditionExpression": "#h = :me",
                "ExpressionAttributeNames": {"#h": "holder", "#p": "position", "#n": "note", "#a": "after", "#e": "ended"},
                "ExpressionAttributeValues": {
                    ":me": {"S": self.me},
                    ":p": {"S": str(position.offset)},  # more digits than a number of DynamoDB has
                    ":n": {"S": position.note},
                    ":a": {"S": after},
                    ":e": {"BOOL": is_ended},
                },
            }
        }

    def _update(self, stream: str, shard: int, change: str, condition: str, values: dict[str, Any]) -> bool:
        if ":me" in change or ":me" in condition:
            values = {**values, ":me": {"S": self.me}}
        names = {name: attribute for name, attribute in _NAMES.items() if name in change or name in condition}
        return self._conditionally(
            "update_item", Key=_key(stream, shard), UpdateExpression=change, ConditionExpression=condition,
            ExpressionAttributeNames=names, ExpressionAttributeValues=values,
        )  # fmt: skip

    def _conditionally(self, act: str, **arguments: Any) -> bool:
        try:
            getattr(self._dynamo, act)(TableName=self._table, **arguments)
        except self._dynamo.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _key(stream: str, shard: int) -> dict[str, Any]:
    return {"stream": {"S": stream}, "number": {"N": str(shard)}}


def _lease(item: Mapping[str, Any]) -> Lease:
    position = Position(int(item["position"]["S"]), item["note"]["S"]) if "position" in item else None
    return Lease(
        int(item["number"]["N"]),
        item["holder"]["S"],
        int(item["counter"]["N"]),
        item["wanted"]["S"],
        position,
        item["after"]["S"] if "after" in item else "",
        "ended" in item and bool(item["ended"]["BOOL"]),
    )
