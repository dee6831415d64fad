"""One node: what it holds, and the two ways in which an event of one of its rooms goes out."""

import threading

from .audience import Audience, Connection
from .config import Config
from .mischief import Mischief
from .rpc_client import Peers
from .state import Room, Rooms


class Node:
    def __init__(self, config: Config, patience: float = 1):
        """All time limits of calls are so many times those of the original."""
        self.node_id = config.node_id
        self.address = config.xmlrpc_address
        self.mischief = Mischief()
        self.rooms = Rooms(config.node_id)
        self.audience = Audience()
        self.patience = patience
        self.peers = Peers(config.node_id, config.peers, self.mischief)
        self.peers.discovery_seconds *= patience
        # Whoever serves a client, or looks after the members, holds it, also while waiting for another node: then every
        # client of this node waits. Calls of other nodes are served by a thread of their own and do not take it.
        self.loop = threading.Lock()

    def announce_member(
        self, room: Room, kind: str, event: dict, exclude: Connection | None = None, skip: str | None = None
    ) -> None:
        """Tells the clients here, then every other node."""
        self.audience.push(room.room_id, kind, event, exclude)
        self.peers.tell_all("receive_member_event_broadcast", room.room_id, kind, event, skip=skip)

    def announce_message(self, room: Room, message: dict) -> None:
        """Tells the clients here, then every other node, that of the author included."""
        self.audience.push(room.room_id, "new_message", message)
        self.peers.tell_all("receive_message_broadcast", room.room_id, message)
