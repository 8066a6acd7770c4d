"""The refusals of a Kubernetes API server, worded as Kubernetes words them.

One exception, `Refused`, that knows its HTTP code, reason and details, and a function for each cause. Wording follows
k8s.io/apimachinery/pkg/api/errors: clients (kubectl, kopf) read reason and code, people read the message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Cause:
    """One thing wrong with one field: `reason` is Kubernetes' (FieldValueInvalid...), `field` a path such as spec.steps[0]."""

    reason: str
    message: str
    field: str

    def as_json(self) -> Json:
        return {
            key: value for key, value in (("reason", self.reason), ("message", self.message), ("field", self.field)) if value
        }


class Refused(Exception):
    """A request that is answered with a Status of failure."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def as_json(self) -> Json:
        body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        return body | {"code": self.code}


def _of(group: str, plural: str, name: str = "", **more: Any) -> Json:
    return {k: v for k, v in {"name": name, "group": group, "kind": plural, **more}.items() if v}


def qualified(group: str, plural: str) -> str:
    """`modelservices.vedette.dev`, or `pods` for the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> Refused:
    return Refused(404, "NotFound", f'{qualified(group, plural)} "{name}" not found', _of(group, plural, name))


def no_such_path() -> Refused:
    return Refused(404, "NotFound", "the server could not find the requested resource")


def already_exists(group: str, plural: str, name: str) -> Refused:
    return Refused(409, "AlreadyExists", f'{qualified(group, plural)} "{name}" already exists', _of(group, plural, name))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(group: str, plural: str, name: str, why: str = STALE) -> Refused:
    said = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return Refused(409, "Conflict", said, _of(group, plural, name))


def apply_conflict(causes: Sequence[Cause]) -> Refused:
    """Server-side apply met fields of other managers."""
    count = f"{len(causes)} conflict{'s' if len(causes) != 1 else ''}"
    who = sorted({cause.message for cause in causes})
    if len(causes) == 1:
        said = f"Apply failed with {count}: {causes[0].message}: {causes[0].field}"
    else:
        said = f"Apply failed with {count}: " + "\n".join(
            f"{one.replace('conflict', 'conflicts', 1)}:\n" + "\n".join(f"- {c.field}" for c in causes if c.message == one)
            for one in who
        )
    return Refused(409, "Conflict", said, {"causes": [cause.as_json() for cause in causes]})


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> Refused:
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    what = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    details = _of(group, kind, name) | {"causes": [cause.as_json() for cause in causes]}
    return Refused(422, "Invalid", f'{qualified(group, kind)} "{name}" is invalid: {what}', details)


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequest", message)


def expired(message: str) -> Refused:
    return Refused(410, "Expired", message)


def unauthorized() -> Refused:
    return Refused(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str, causes: Sequence[Cause] = ()) -> Refused:
    named = f' "{name}"' if name else ""
    details = _of(group, plural, name) | ({"causes": [cause.as_json() for cause in causes]} if causes else {})
    return Refused(403, "Forbidden", f"{qualified(group, plural)}{named} is forbidden: {why}", details)


def method_not_allowed() -> Refused:
    return Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media(accepted: Sequence[str]) -> Refused:
    said = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return Refused(415, "UnsupportedMediaType", said)


def internal(message: str) -> Refused:
    details = {"causes": [{"message": message}]}
    return Refused(500, "InternalError", f"Internal error occurred: {message}", details)


def required(field: str, message: str = "") -> Cause:
    return Cause("FieldValueRequired", f"Required value: {message}" if message else "Required value", field)


def wrong(field: str, value: Any, message: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {message}", field)


def mistyped(field: str, value: Any, message: str) -> Cause:
    return Cause("FieldValueTypeInvalid", f"Invalid value: {shown(value)}: {message}", field)


def unsupported(field: str, value: Any, allowed: Sequence[Any]) -> Cause:
    listed = ", ".join(shown(one) for one in allowed)
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {listed}", field)


def not_allowed(field: str, message: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {message}", field)


def shown(value: Any) -> str:
    """A value as field errors print it: quoted text, plain numbers, and a word in place of a whole object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return '"object"' if isinstance(value, dict) else '"array"'
    return str(value)
