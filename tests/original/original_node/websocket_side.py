"""What clients ask for and what they are answered. One request of one client at a time, per node."""

import json
import logging

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from . import deletion, state
from .audience import Connection
from .node import Node

log = logging.getLogger("original.websocket_side")


class _Socket(ServerConnection):
    def __init__(self, socket, *args, **kwargs):
        # The time limit that discovery leaves behind for the whole process does not reach the sockets of clients.
        socket.settimeout(None)
        super().__init__(socket, *args, **kwargs)


class WebSocketSide:
    def __init__(self, node: Node, host: str, port: int):
        self._node = node
        self._closing = False
        self._server = serve(self._serve_client, host, port, create_connection=_Socket)
        self._requests = {
            "list_rooms": self._list_rooms,
            "discover_rooms": self._discover_rooms,
            "create_room": self._create_room,
            "join_room": self._join_room,
            "leave_room": self._leave_room,
            "send_message": self._send_message,
            "delete_room": self._delete_room,
        }

    @property
    def port(self) -> int:
        return self._server.socket.getsockname()[1]

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def close(self) -> None:
        """Closes all clients with code 1001. Nobody else is told."""
        self._closing = True
        self._server.shutdown()

    def _serve_client(self, websocket) -> None:
        connection = Connection(websocket)
        try:
            for text in websocket:
                with self._node.loop:
                    self._answer(connection, text)
        except ConnectionClosed:
            pass
        finally:
            if not self._closing:
                with self._node.loop:
                    self._disconnected(connection)

    def _answer(self, connection: Connection, text) -> None:
        try:
            request = json.loads(text)
        except ValueError:
            _refuse(connection, "Invalid JSON format")
            return
        try:
            kind = request.get("type")
            handler = self._requests.get(kind) if isinstance(kind, str) else None
            if handler is None:
                _refuse(connection, f"Unknown message type: {kind}")
            else:
                handler(connection, request.get("data", {}))
        except ConnectionClosed:
            raise
        except Exception as error:  # The texts of Python reach the client.
            _refuse(connection, str(error))

    # === rooms

    def _list_rooms(self, connection: Connection, _data) -> None:
        rooms = self._node.rooms.entries()
        connection.send("rooms_list", {"rooms": rooms, "total_count": len(rooms)})

    def _discover_rooms(self, connection: Connection, _data) -> None:
        try:
            found = self._node.peers.discover(self._node.rooms.entries())
        except Exception:
            _refuse(connection, "Failed to discover rooms")
        else:
            connection.send("global_rooms_list", found)

    def _create_room(self, connection: Connection, data) -> None:
        try:
            name, creator = data.get("room_name"), data.get("creator_id")
            if not name or not creator:
                _refuse(connection, "Missing room_name or creator_id", "room_created")
                return
            room = self._node.rooms.create(name, creator, data.get("description"))
        except Exception:
            _refuse(connection, "Internal server error", "room_created")
            return
        if room is None:
            _refuse(connection, f"Room with name '{name}' already exists", "room_created")
            return
        created = {
            "room_id": room.room_id,
            "room_name": room.room_name,
            "admin_node": room.admin_node,
            "members": [],
            "created_at": room.created_at,
        }
        connection.send("room_created", created)

    def _delete_room(self, connection: Connection, data) -> None:
        deletion.delete_room(self._node, connection, data)

    # === coming and going

    def _join_room(self, connection: Connection, data) -> None:
        room_id, username = data.get("room_id"), data.get("username")
        if not room_id or not username:
            _fail(connection, "join_room_error", room_id or "", "Missing room_id or username", "INVALID_REQUEST")
            return
        try:
            room = self._node.rooms.get(room_id)
            if room is not None:
                self._join_here(connection, room, username)
            else:
                self._join_elsewhere(connection, room_id, username)
        except _Refused as refused:
            _fail(connection, "join_room_error", room_id, refused.text, refused.code)
        except ConnectionClosed:
            raise
        except Exception as error:
            _fail(connection, "join_room_error", room_id, str(error), "INTERNAL_ERROR")

    def _join_here(self, connection: Connection, room: state.Room, username) -> None:
        event = self._node.rooms.add_member(room, username, self._node.node_id)
        if event is not None:
            self._node.announce_member(room, "member_joined", event, exclude=connection)
        with connection.lock:
            self._node.audience.subscribe(room.room_id, connection, username)
            _welcome(connection, *self._node.rooms.snapshot(room))

    def _join_elsewhere(self, connection: Connection, room_id, username) -> None:
        joined = self._call_admin(room_id, "join_room", username, self._node.node_id)
        if not joined["success"]:
            raise _Refused(joined["message"], joined.get("error_code", "UNKNOWN_ERROR"))
        # What the admin node sends from its answer to here reaches nobody.
        self._node.mischief.wait("join-window")
        with connection.lock:
            self._node.audience.subscribe(room_id, connection, username)
            _welcome(connection, joined["room_info"], joined.get("messages", []))

    def _leave_room(self, connection: Connection, data) -> None:
        room_id, username = data.get("room_id"), data.get("username")
        if not room_id or not username:
            _refuse(connection, "Missing room_id or username")
            return
        self._node.audience.unsubscribe(room_id, connection)
        room = self._node.rooms.get(room_id)
        if room is not None:
            # Announced even if nobody of that name was in.
            _, event = self._node.rooms.remove_member(room, username)
            self._node.announce_member(room, "member_left", event)
        else:
            self._tell_admin(room_id, "leave_room", username, self._node.node_id)
        connection.send("leave_room_success", {"room_id": room_id, "username": username})

    def _disconnected(self, connection: Connection) -> None:
        reason = "User disconnected"
        for room_id, username in self._node.audience.drop(connection):
            room = self._node.rooms.get(room_id)
            if room is not None:
                _, event = self._node.rooms.remove_member(room, username, reason)
                self._node.announce_member(room, "member_left", event)
            else:
                self._tell_admin(room_id, "notify_member_disconnect", username, self._node.node_id, reason)

    # === messages

    def _send_message(self, connection: Connection, data) -> None:
        room_id, username, content = data.get("room_id"), data.get("username"), data.get("content")
        try:
            if not room_id or not username:
                raise _Refused("Missing room_id or username", "INVALID_REQUEST")
            problem = state.content_problem(content)
            if problem:
                raise _Refused(problem, "INVALID_CONTENT")
            if not self._node.audience.is_in(room_id, connection):
                raise _Refused("You are not a member of this room", "NOT_MEMBER")
            room = self._node.rooms.get(room_id)
            if room is not None:
                sent = self._send_here(room, username, content)
            else:
                sent = self._send_elsewhere(room_id, username, content)
        except _Refused as refused:
            _fail(connection, "message_error", room_id or "", refused.text, refused.code)
        except ConnectionClosed:
            raise
        except Exception as error:
            _fail(connection, "message_error", room_id or "", str(error), "INTERNAL_ERROR")
        else:
            confirmed = {key: sent[key] for key in ("message_id", "sequence_number", "timestamp")}
            connection.send("message_sent", {"room_id": room_id, **confirmed})

    def _send_here(self, room: state.Room, username, content) -> dict:
        message = self._node.rooms.add_message(room, username, content)
        if message is None:
            raise _Refused("Failed to add message", "INTERNAL_ERROR")
        self._node.announce_message(room, message)
        return message

    def _send_elsewhere(self, room_id, username, content) -> dict:
        sent = self._call_admin(room_id, "forward_message", username, content, self._node.node_id)
        if not sent.get("success"):
            raise _Refused(sent.get("error", "Failed to send message"), sent.get("error_code", "UNKNOWN_ERROR"))
        return sent

    # === the admin node of a room that is elsewhere

    def _call_admin(self, room_id, method: str, *params) -> dict:
        entry = self._node.peers.find_room(room_id)
        if entry is None:
            raise _Refused("Room not found", "ROOM_NOT_FOUND")
        address = self._node.peers.address_of(entry)
        if not address:
            raise _Refused("Administrator node unavailable", "ADMIN_NODE_UNAVAILABLE")
        try:
            return self._node.peers.call(address, method, room_id, *params)
        except Exception as error:
            raise _Refused(f"Failed to contact administrator node: {error}", "ADMIN_NODE_UNAVAILABLE") from error

    def _tell_admin(self, room_id, method: str, *params) -> None:
        """A client that goes is answered whatever happens. What fails is never repeated."""
        try:
            self._call_admin(room_id, method, *params)
        except Exception as error:
            log.info("%s: %s", method, error)


class _Refused(Exception):
    def __init__(self, text: str, code: str):
        super().__init__(text)
        self.text, self.code = text, code


def _welcome(connection: Connection, info: dict, messages: list[dict]) -> None:
    connection.send("join_room_success", info)
    for message in messages:
        connection.send("new_message", message)


def _refuse(connection: Connection, text: str, kind: str = "error") -> None:
    connection.send(kind, {"success": False, "message": text})


def _fail(connection: Connection, kind: str, room_id, text: str, code: str) -> None:
    connection.send(kind, {"room_id": room_id, "error": text, "error_code": code})
