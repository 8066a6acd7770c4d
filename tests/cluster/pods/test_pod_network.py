"""The network of the pods keeps its address while pods come and go."""

import json
import subprocess

import pytest

from tests.cluster.kubelet.networking import bridge


@pytest.fixture
async def network():
    if why := bridge.why_not():
        pytest.skip(why)
    number, held = bridge.reserve()
    made = bridge.Network(number)
    try:
        await made.start()
        yield made
    finally:
        made.stop()
        held.close()
        if made._holder is not None and made._holder.stdin is not None:
            made._holder.stdin.close()
            await made._holder.wait()


def hardware_address(inside: int) -> str:
    """Of the bridge, to which this machine and the pods send what is for the router."""
    command = ["nsenter", f"--net=/proc/{inside}/ns/net", "ip", "-json", "link", "show", "br0"]
    return str(json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]["address"])


async def test_a_pod_with_a_lower_hardware_address_does_not_change_the_routers(network: bridge.Network):
    inside = network._holder.pid
    before = hardware_address(inside)
    await bridge.ip(["link add low address 00:00:5e:00:53:01 type veth peer name other", "link set low master br0 up"], inside)
    assert hardware_address(inside) == before == network.hardware
