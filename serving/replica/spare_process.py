"""A process of Ray that has imported everything and waits: a replica that takes the place of one that died begins in it.

Ray starts a process when there is work for it, and keeps idle ones up to the number of its CPUs. Its node also starts processes on request
(`PrestartWorkers`, node_manager.proto), which Ray's own scheduler uses; no Python function of Ray does. What a process imports before it
waits is Ray's configuration `preload_python_modules` (serving.launch.local)."""

import logging
from typing import Any, Final

import ray

_WAIT_S: Final = 10.0
_log = logging.getLogger("vedette.replica")


def start_spare() -> None:
    """Ask the node of this process for one more process of its job. A node that cannot is logged: replicas are then replaced as without."""
    try:
        from ray._private.grpc_utils import init_grpc_channel
        from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc

        context = ray.get_runtime_context()
        (node,) = (one for one in ray.nodes() if one["NodeID"] == context.get_node_id())
        channel: Any = init_grpc_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")
        with channel:
            request = node_manager_pb2.PrestartWorkersRequest(  # type: ignore[attr-defined]
                language=common_pb2.Language.PYTHON,  # type: ignore[attr-defined]
                job_id=bytes.fromhex(context.get_job_id()),
                num_workers=1,
            )
            node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=_WAIT_S)  # type: ignore[no-untyped-call]
    except (
        Exception
    ) as problem:  # private parts of Ray: whatever changes there, also their place, the replica starts and answers
        _log.warning("no spare process could be started: %s", problem)
