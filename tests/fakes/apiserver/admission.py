"""Admission webhooks: asks the configured ones over HTTPS, as the API server does. (Filled in next.)"""

from typing import Any

from .objects import Call

Json = dict[str, Any]


class Webhooks:
    def __init__(self, store: object) -> None:
        self.store = store

    async def mutate(self, call: Call, operation: str, obj: Json | None, old: Json | None) -> Json | None:
        return obj

    async def validate(self, call: Call, operation: str, obj: Json | None, old: Json | None) -> None:
        return None
