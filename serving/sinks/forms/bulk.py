"""One item of Elasticsearch's bulk request: an action line and a document, NDJSON.

The action is `create` with the alert's id: a repeat is refused with 409 and changes nothing, and data streams accept it."""

from serving.sinks.alert import SinkAlert
from serving.sinks.forms.options import FormOptions
from serving.sinks.text import JsonObject, encode_json


def bulk_item(alert: SinkAlert, document: JsonObject, options: FormOptions) -> bytes:
    """Two lines, each with its newline."""
    return encode_json({"create": {"_index": options.index, "_id": alert.id}}) + b"\n" + encode_json(document) + b"\n"
