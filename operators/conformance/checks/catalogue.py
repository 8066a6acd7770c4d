"""Every check of the kit, in the order they are run: light checks first, checks that might harm the server later."""

from typing import Final

from operators.conformance.checks import binary, errors, health, inference, remote, remote_errors, repository, statistics
from operators.conformance.values import Check

ALL: Final[tuple[Check, ...]] = (
    *health.CHECKS,
    *inference.CHECKS,
    *binary.CHECKS,
    *remote.CHECKS,
    *repository.CHECKS,
    *statistics.CHECKS,
    *errors.CHECKS,
    *remote_errors.CHECKS,
)
