"""What a node holds, in memory only: the rooms it administers. A restart starts with nothing.

The lock keeps single steps whole, because two threads come here (clients, and calls of other nodes); it is never held
while anything is sent.
"""

import threading
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timezone

HISTORY = 100
MAX_CONTENT = 5000

ACTIVE = "ACTIVE"
DELETION_PENDING = "DELETION_PENDING"
COMMITTING = "COMMITTING"
ROLLING_BACK = "ROLLING_BACK"


def now() -> str:
    """As it stands on the wire: UTC, six digits of a second, or none if they are all zero."""
    return datetime.now(timezone.utc).isoformat()


def content_problem(content) -> str | None:
    """Why a text cannot be a message. A number has no length and raises, as in the original."""
    if not content:
        return "Message content cannot be empty"
    if len(content) > MAX_CONTENT:
        return f"Message content too long (max {MAX_CONTENT} characters)"
    return None


@dataclass
class Member:
    node_id: str
    # Set when the member is added and never again, so that everybody is thrown out in the end, active or not.
    since: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


@dataclass
class Room:
    room_id: str
    room_name: str
    description: str | None
    creator_id: str
    admin_node: str
    created_at: str
    members: dict[str, Member] = field(default_factory=dict)
    counter: int = 0
    messages: deque = field(default_factory=lambda: deque(maxlen=HISTORY))
    state: str = ACTIVE

    def entry(self) -> dict:
        """As it stands in a list of rooms."""
        return {
            "room_id": self.room_id,
            "room_name": self.room_name,
            "description": self.description,
            "member_count": len(self.members),
            "admin_node": self.admin_node,
            "creator_id": self.creator_id,
        }

    def info(self) -> dict:
        """As whoever joins is told."""
        return {
            "room_id": self.room_id,
            "room_name": self.room_name,
            "description": self.description,
            "members": list(self.members),
            "member_count": len(self.members),
            "admin_node": self.admin_node,
        }


class Rooms:
    """The rooms that this node administers."""

    def __init__(self, node_id: str):
        self.node_id = node_id
        self._rooms: dict[str, Room] = {}
        self._lock = threading.RLock()

    def create(self, name, creator, description) -> Room | None:
        """Nothing if this node has a room of that name."""
        with self._lock:
            if any(room.room_name == name for room in self._rooms.values()):
                return None
            room = Room(str(uuid.uuid4()), name, description, creator, self.node_id, now())
            self._rooms[room.room_id] = room
            return room

    def get(self, room_id) -> Room | None:
        return self._rooms.get(room_id)

    def all(self) -> list[Room]:
        with self._lock:
            return list(self._rooms.values())

    def entries(self) -> list[dict]:
        with self._lock:
            return [room.entry() for room in self._rooms.values()]

    def delete(self, room_id) -> None:
        with self._lock:
            self._rooms.pop(room_id, None)

    def add_member(self, room: Room, username, node_id: str) -> dict | None:
        """The event to announce. Whoever is a member already stays as he is, and nobody hears of it."""
        with self._lock:
            if username in room.members:
                return None
            room.members[username] = Member(node_id)
            return self._member_event(room, username)

    def remove_member(self, room: Room, username, reason: str | None = None) -> tuple[bool, dict]:
        """Was he a member, and the event to announce."""
        with self._lock:
            was_member = room.members.pop(username, None) is not None
            event = self._member_event(room, username)
            if reason is not None:
                event["reason"] = reason
            return was_member, event

    @staticmethod
    def _member_event(room: Room, username) -> dict:
        return {
            "room_id": room.room_id,
            "username": username,
            "member_count": len(room.members),
            "timestamp": now(),
        }

    def add_message(self, room: Room, username, content) -> dict | None:
        """The numbered message, or nothing if its author is no member."""
        with self._lock:
            if username not in room.members:
                return None
            room.counter += 1
            message = {
                "message_id": str(uuid.uuid4()),
                "room_id": room.room_id,
                "username": username,
                "content": content,
                "sequence_number": room.counter,
                "timestamp": now(),
            }
            room.messages.append(message)
            return message

    def snapshot(self, room: Room) -> tuple[dict, list[dict]]:
        """What whoever joins gets: the room, and its newest messages in order."""
        with self._lock:
            return room.info(), list(room.messages)

    def begin_deletion(self, room: Room) -> bool:
        """True if the room was active. The state forbids nothing but a second deletion."""
        with self._lock:
            if room.state != ACTIVE:
                return False
            room.state = DELETION_PENDING
            return True

    def nodes_of_members(self) -> list[str]:
        """The other nodes with members in rooms of this one."""
        with self._lock:
            nodes = (member.node_id for room in self._rooms.values() for member in room.members.values())
            return [node_id for node_id in dict.fromkeys(nodes) if node_id != self.node_id]

    def members_where(self, wanted) -> list[tuple[Room, str]]:
        """Rooms and names of the members for whom `wanted(member)` holds."""
        with self._lock:
            return [
                (room, username)
                for room in self._rooms.values()
                for username, member in room.members.items()
                if wanted(member)
            ]
