"""An in-memory Kubernetes API server of ours, and the same handle on a real one. For tests; no part of the product.

    with ApiServer() as api:                       # or: async with ApiServer() as api
        api.url, api.token, api.authority          # https on loopback, an administrator's token, the CA's path
        api.kubeconfig()                           # a path, for KUBECONFIG, kubectl, kopf and the kubernetes client
        api.kubeconfig(token, "operator")          # the same for another user
        with api.http() as http: http.get("/api/v1/namespaces/default/configmaps")
        api.access.issue(User("bob", ("ops",)))    # a token (fake only; both serve serviceaccounts/NAME/token)
        api.faults.order(verb="patch", plural="modelservices", status=500, times=3)    # see faults.py: after=
        api.faults.drop_watches("modelservices"); api.faults.forget_history()
        [call for call in api.log if call.is_write]                                    # every answered call

It runs in a thread of its own, so synchronous clients and subprocesses can call it. `real.py` has `RealApiServer`, with the
same handle (url, kubeconfig, http), where `make cluster-tools` has built one. The laws that both
keep are tests/contract/test_api_server_*.py.
"""

from tests.fakes.apiserver.faults import Fault, Faults
from tests.fakes.apiserver.handle import Handle
from tests.fakes.apiserver.server import ApiServer
from tests.fakes.apiserver.storing.objects import User

__all__ = ["ApiServer", "Fault", "Faults", "Handle", "User"]
