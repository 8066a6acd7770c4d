"""The kubelet's process. It ends, with all its pods, when its stdin does.

It prints a line of JSON when its nodes are registered. Lines of stdin: `lose NODE` cuts a node's power, `behind NAMESPACE/NAME` asks which
pods get new connections of a Service."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.cluster.kubelet.networking import names
from tests.cluster.kubelet.networking.bridge import Network, reserve
from tests.cluster.kubelet.networking.services import Services
from tests.cluster.kubelet.node import Images, Kubelet, Node
from tests.cluster.kubelet.wire import Api


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.kubelet")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="files and logs of pods")
    parser.add_argument(
        "--network", type=int, default=0, help="N of 198.18.N.0/24, which the caller has reserved; 0: reserve one"
    )
    parser.add_argument("--node", action="append", default=[], metavar="NAME", help="a node; may be repeated")
    parser.add_argument("--capacity", default="{}", help="of each node, as JSON: resource to quantity")
    parser.add_argument("--beat", type=float, default=2.0, help="seconds between two renewals of a node's lease")
    parser.add_argument("--store", type=Path, help="the build context of vedette-bundles: the folder with .vedette")
    parser.add_argument("--program", action="append", default=[], metavar="IMAGE=PATH", help="an image that is one program")
    return parser.parse_args()


async def obey(commands: asyncio.StreamReader, kubelet: Kubelet, services: Services) -> None:
    """Do as the lines say, until there are no more."""
    while line := (await commands.readline()).decode().split():
        if line[0] == "lose":
            await kubelet.lose(line[1])
            print(json.dumps({"lost": line[1]}), flush=True)
        elif line[0] == "behind":
            namespace, _, name = line[1].partition("/")
            print(json.dumps({"behind": services.behind((namespace, name))}), flush=True)


async def main() -> None:
    said = arguments()
    number, _held = (said.network, None) if said.network else reserve()
    api, network = Api(said.kubeconfig), Network(number)
    await network.start()
    services = Services(api, network)
    capacity = json.loads(said.capacity)
    nodes = {name: Node(api, name, network, capacity, said.beat) for name in said.node}
    programs = {image: Path(path) for image, _, path in (one.partition("=") for one in said.program)}
    scratch = said.folder / ".images"
    scratch.mkdir(exist_ok=True)
    kubelet = Kubelet(api, network, services, Images(scratch, said.store, programs), said.folder, nodes)
    for node in nodes.values():
        await node.register()
    await names.serve(network, services.look_up)
    tasks = [asyncio.create_task(work) for work in (services.follow(), kubelet.follow(), *(n.beat() for n in nodes.values()))]
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(json.dumps({"machine": network.machine, "nodes": list(nodes)}), flush=True)
    obeying = asyncio.create_task(obey(commands, kubelet, services))
    done, _ = await asyncio.wait([obeying, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (obeying, *tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await kubelet.stop()
    network.stop()
    for task in done:
        task.result()  # raises what one of them ended with


if __name__ == "__main__":
    asyncio.run(main())
