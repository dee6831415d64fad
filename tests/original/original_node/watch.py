"""What happens by itself: heartbeats to the nodes of members, and the clearing out of idle members."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from .node import Node

# Seconds.
HEARTBEAT_TIMEOUT = 2
FAILURES_TO_FAILED = 2

log = logging.getLogger("original.watch")


@dataclass
class Health:
    status: str = "healthy"
    failures: int = 0


class Watch:
    def __init__(self, node: Node, heartbeat: float, cleanup: float, inactivity: float):
        """All in seconds: between two rounds of heartbeats, between two looks at idle members, and how idle is too idle."""
        self._node = node
        self._heartbeat = heartbeat
        self._cleanup = cleanup
        self.inactivity = inactivity
        # Kept for ever: after a failure, one more is enough, until one heartbeat is answered.
        self.health: dict[str, Health] = {}

    def start(self) -> None:
        for seconds, work in ((self._heartbeat, self._ask_nodes), (self._cleanup, self._remove_idle)):
            threading.Thread(target=self._every, args=(seconds, work), daemon=True).start()

    def _every(self, seconds: float, work) -> None:
        never = threading.Event()
        while not never.wait(seconds):
            try:
                with self._node.loop:
                    work()
            except Exception:
                log.exception("a round failed")

    def _ask_nodes(self) -> None:
        """Only nodes with members in rooms of this node are asked, one after the other."""
        for node_id in self._node.rooms.nodes_of_members():
            address = self._node.peers.addresses.get(node_id)
            if address is None:
                continue
            health = self.health.setdefault(node_id, Health())
            if self._answers(address):
                health.status, health.failures = "healthy", 0
                continue
            health.failures += 1
            health.status = "failed" if health.failures >= FAILURES_TO_FAILED else "degraded"
            if health.status == "failed":
                self._remove_members_of(node_id)

    def _answers(self, address: str) -> bool:
        # As with votes: the time runs out in vain, for leaving the pool waits for the call.
        with ThreadPoolExecutor(max_workers=1) as pool:
            try:
                call = pool.submit(self._node.peers.call, address, "heartbeat")
                answer = call.result(HEARTBEAT_TIMEOUT * self._node.patience)
                return answer.get("status") == "ok"
            except Exception:
                return False

    def _remove_members_of(self, node_id: str) -> None:
        for room, username in self._node.rooms.members_where(lambda member: member.node_id == node_id):
            was_member, event = self._node.rooms.remove_member(room, username, "Node unreachable")
            if was_member:
                self._node.announce_member(room, "member_left", event, skip=node_id)

    def _remove_idle(self) -> None:
        limit = datetime.now(timezone.utc) - timedelta(seconds=self.inactivity)
        for room, username in self._node.rooms.members_where(lambda member: member.since < limit):
            was_member, event = self._node.rooms.remove_member(room, username, "Inactivity")
            if was_member:
                self._node.announce_member(room, "member_left", event)
