"""The triage of a revision as people write it in a ModelService.

Pure. The data plane's form is serving.spec.TriageSwitch."""

from typing import Annotated

from pydantic import Field

from operators.values import Value
from serving.spec import TriageSwitch


class Triage(Value):
    """Switches on the triage of the bundle: a cheap model ends clear cases as benign before the model runs."""

    bound: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Replaces the bundle's bound, for which the share of lost attacks is known. Unset: the bundle's."""
    audit_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the events below the bound that the model scores anyway, so that lost attacks are seen. 1 ends none."""

    def serving(self) -> TriageSwitch:
        """The value for the data plane."""
        return TriageSwitch(bound=self.bound, audit_share=self.audit_share)
