"""Contract suites run over a fake and over the real thing; these fixtures give the API servers."""

from tests.contract.operator.desks import desk, kinds
from tests.fakes.apiserver.fixtures import api_server, namespace

__all__ = ["api_server", "desk", "kinds", "namespace"]
