"""The connections of clients, and which of them listen to which room.

Listening and membership are two things: membership is the admin node's, listening is each node's own, and nobody keeps
them equal. Whoever was removed as a member goes on listening.
"""

import json
import logging
import threading

log = logging.getLogger("original.audience")


class Connection:
    """One client. Two threads write to it: the one that reads it, and the one that serves calls of other nodes."""

    def __init__(self, websocket):
        self._websocket = websocket
        # Held over several frames where nothing may come between them.
        self.lock = threading.RLock()

    def send(self, kind: str, data: dict) -> None:
        """Waits for a client that does not read, and everybody behind the caller waits, too."""
        text = json.dumps({"type": kind, "data": data})
        with self.lock:
            self._websocket.send(text)


class Audience:
    """A subscription is a room, a connection and a name. Two names on one connection: every event twice."""

    def __init__(self):
        self._lock = threading.Lock()
        self._subscriptions: dict[str, dict[tuple[Connection, str], None]] = {}
        self._rooms_of: dict[Connection, dict[str, None]] = {}

    def subscribe(self, room_id, connection: Connection, username) -> None:
        with self._lock:
            self._subscriptions.setdefault(room_id, {})[(connection, username)] = None
            self._rooms_of.setdefault(connection, {})[room_id] = None

    def unsubscribe(self, room_id, connection: Connection) -> None:
        with self._lock:
            listeners = self._subscriptions.get(room_id, {})
            for key in [key for key in listeners if key[0] is connection]:
                del listeners[key]
            self._rooms_of.get(connection, {}).pop(room_id, None)

    def forget_room(self, room_id) -> None:
        """After a deletion here. The connection goes on believing that it is in the room."""
        with self._lock:
            self._subscriptions.pop(room_id, None)

    def is_in(self, room_id, connection: Connection) -> bool:
        with self._lock:
            return room_id in self._rooms_of.get(connection, {})

    def drop(self, connection: Connection) -> list[tuple[str, str]]:
        """Forgets a connection. Rooms it was in, each with one name, even if there were two."""
        with self._lock:
            left = []
            for room_id in self._rooms_of.pop(connection, {}):
                listeners = self._subscriptions.get(room_id, {})
                keys = [key for key in listeners if key[0] is connection]
                for key in keys:
                    del listeners[key]
                if keys:
                    left.append((room_id, keys[-1][1]))
            return left

    def push(self, room_id, kind: str, data: dict, exclude: Connection | None = None) -> None:
        """Tells everybody who listens, one after the other."""
        with self._lock:
            listeners = [connection for connection, _ in self._subscriptions.get(room_id, {})]
        for connection in listeners:
            if connection is exclude:
                continue
            try:
                connection.send(kind, data)
            except Exception as error:  # A client that is gone costs the others nothing.
                log.info("a client did not get %s: %s", kind, error)
