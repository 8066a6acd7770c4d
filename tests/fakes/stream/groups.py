"""Consumer groups of the broker in memory: who owns what, cooperatively. A partition moves when its owner has let go of it."""

from dataclasses import dataclass, field

from serving.stream.ports import Fenced, Partition, Position


@dataclass(eq=False)
class Member:
    """One worker in a group. epoch: rises when it is thrown out; what it does with an old one is refused."""

    owned: set[Partition] = field(default_factory=set)
    is_in: bool = True


class ConsumerGroup:
    """Members and positions. Partitions are spread evenly; members keep what they have where they can."""

    def __init__(self, partitions: list[Partition]) -> None:
        self._partitions = partitions
        self._members: list[Member] = []
        self.positions: dict[Partition, Position] = {}

    def join(self, member: Member) -> None:
        member.is_in = True
        self._members.append(member)

    def leave(self, member: Member) -> None:
        member.owned.clear()
        member.is_in = False
        if member in self._members:
            self._members.remove(member)

    def to_give(self, member: Member) -> list[Partition]:
        """What the member has beyond its share."""
        share = self._share(member)
        return sorted(member.owned)[share:]

    def to_take(self, member: Member) -> list[Partition]:
        """What nobody has, up to the member's share."""
        taken = {place for one in self._members for place in one.owned}
        free = [place for place in self._partitions if place not in taken]
        return free[: max(0, self._share(member) - len(member.owned))]

    def commit(self, member: Member, positions: dict[Partition, Position]) -> None:
        """Raises Fenced if a partition is not the member's."""
        self.check(member, positions)
        self.positions.update(positions)

    def check(self, member: Member, positions: dict[Partition, Position]) -> None:
        """Raises Fenced if a partition is not the member's."""
        if not member.is_in or not positions.keys() <= member.owned:
            raise Fenced("memory: this worker was taken for dead and its partitions were given away; read anew")

    def _share(self, member: Member) -> int:
        each, rest = divmod(len(self._partitions), len(self._members))
        return each + (self._members.index(member) < rest)
