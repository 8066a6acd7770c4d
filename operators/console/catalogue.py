"""The pages of the console, in the order of the navigation."""

from typing import Final

from operators.console.audit.page import PAGE as AUDIT
from operators.console.detections.page import PAGE as DETECTIONS
from operators.console.drift.page import PAGE as DRIFT
from operators.console.models.page import PAGE as MODELS
from operators.console.page import ConsolePage
from operators.console.rollouts.page import PAGE as ROLLOUTS
from operators.console.service.page import PAGE as SERVICE

PAGES: Final[tuple[ConsolePage, ...]] = (ROLLOUTS, DETECTIONS, MODELS, DRIFT, SERVICE, AUDIT)
