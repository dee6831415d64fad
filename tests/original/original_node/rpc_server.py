"""The eleven methods that other nodes call: one call at a time, on one thread, without any time limit."""

import logging
import threading
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from . import state
from .node import Node

log = logging.getLogger("original.rpc_server")


class Methods:
    """What is public here can be called, by its name and with exactly its parameters. An exception becomes a fault."""

    def __init__(self, node: Node):
        self._node = node

    # === rooms that this node administers

    def get_hosted_rooms(self):
        return [{**entry, "node_address": self._node.address} for entry in self._node.rooms.entries()]

    def join_room(self, room_id, username, client_node_id):
        room = self._node.rooms.get(room_id)
        if room is None:
            return {**_not_found(), "room_info": None}
        event = self._node.rooms.add_member(room, username, client_node_id)
        if event is not None:
            self._node.announce_member(room, "member_joined", event)
        info, messages = self._node.rooms.snapshot(room)
        message = "Already in room, re-registered" if event is None else "Successfully joined room"
        return {"success": True, "message": message, "room_info": info, "messages": messages}

    def leave_room(self, room_id, username, client_node_id):
        room = self._node.rooms.get(room_id)
        if room is None:
            return _not_found()
        was_member, event = self._node.rooms.remove_member(room, username)
        if not was_member:
            return {"success": False, "message": "Not in room", "error_code": "NOT_IN_ROOM"}
        self._node.announce_member(room, "member_left", event)
        return {"success": True, "message": "Successfully left room"}

    def forward_message(self, room_id, username, content, sender_node_id):
        problem = state.content_problem(content)
        if problem:
            return {"success": False, "error": problem, "error_code": "INVALID_CONTENT"}
        room = self._node.rooms.get(room_id)
        if room is None:
            return {"success": False, "error": "Room not found", "error_code": "ROOM_NOT_FOUND"}
        message = self._node.rooms.add_message(room, username, content)
        if message is None:
            return {"success": False, "error": "You are not a member of this room", "error_code": "NOT_MEMBER"}
        self._node.announce_message(room, message)
        return {
            "success": True,
            "message_id": message["message_id"],
            "sequence_number": message["sequence_number"],
            "timestamp": message["timestamp"],
        }

    def notify_member_disconnect(self, room_id, username, member_node_id, reason="User disconnected"):
        room = self._node.rooms.get(room_id)
        if room is None:
            return {"success": False, "message": "Room not found"}
        was_member, event = self._node.rooms.remove_member(room, username, reason)
        if not was_member:
            return {"success": True, "message": "User not in room"}
        self._node.announce_member(room, "member_left", event)
        return {"success": True, "message": "Member removed successfully"}

    # === rooms that the caller administers; who calls is not checked

    def receive_message_broadcast(self, room_id, message_data):
        # Only a struct can be asked for its members.
        message_data.get("message_id")
        self._node.audience.push(room_id, "new_message", message_data)
        return True

    def receive_member_event_broadcast(self, room_id, event_type, event_data):
        event_data.get("username")
        self._node.audience.push(room_id, event_type, event_data)
        return True

    def heartbeat(self):
        return {"status": "ok", "node_id": self._node.node_id, "timestamp": state.now()}

    # === deletion of a room: this node as participant

    def prepare_delete_room(self, room_id, transaction_id, coordinator_node):
        vote = {"vote": "READY", "node_id": self._node.node_id, "transaction_id": transaction_id}
        room = self._node.rooms.get(room_id)
        if room is not None and not self._node.rooms.begin_deletion(room):
            vote.update(vote="ABORT", reason=f"Room in {room.state} state")
        return vote

    def commit_delete_room(self, room_id, transaction_id, room_name=None):
        room = self._node.rooms.get(room_id)
        if room is not None:
            room_name = room_name or room.room_name
            self._node.rooms.delete(room_id)
        told = {"room_id": room_id, "room_name": room_name or "Unknown", "transaction_id": transaction_id}
        self._node.audience.push(room_id, "room_deleted", told)
        return {"success": True, "node_id": self._node.node_id}

    def rollback_delete_room(self, room_id, transaction_id):
        room = self._node.rooms.get(room_id)
        if room is not None:
            room.state = state.ACTIVE
        told = {"room_id": room_id, "transaction_id": transaction_id}
        self._node.audience.push(room_id, "delete_room_cancelled", told)
        return {"success": True, "node_id": self._node.node_id}


def _not_found() -> dict:
    return {"success": False, "message": "Room not found", "error_code": "ROOM_NOT_FOUND"}


class _Dropped(BaseException):
    """The connection is to be closed without an answer. No `Exception`, or the library would answer with status 500."""


class _Handler(SimpleXMLRPCRequestHandler):
    def do_POST(self):
        try:
            super().do_POST()
        except _Dropped:
            self.close_connection = True

    def log_message(self, format, *args):
        log.info(format, *args)


class RpcServer(SimpleXMLRPCServer):
    """Listens as soon as it is made; serves on a thread of its own once it is started."""

    def __init__(self, node: Node, host: str, port: int):
        super().__init__((host, port), requestHandler=_Handler, allow_none=True, logRequests=False)
        self._mischief = node.mischief
        self._drop = False
        # method -> how often it was called
        self.received: dict[str, int] = {}
        methods = Methods(node)
        for name in [name for name in vars(Methods) if not name.startswith("_")]:
            self.register_function(getattr(methods, name), name)

    @property
    def port(self) -> int:
        return self.server_address[1]

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, name="xmlrpc", daemon=True).start()

    def _dispatch(self, method, params):
        log.info("%s%s", method, params)
        self.received[method] = self.received.get(method, 0) + 1
        self._mischief.wait("hang", method)
        if self._mischief.strikes("fault", method):
            raise RuntimeError("told to fail")
        if self._mischief.strikes("drop", method):
            self._drop = True
            return True
        result = super()._dispatch(method, params)
        self._mischief.wait("slow", method)
        self._drop = self._mischief.strikes("drop-after", method)
        return result

    def _marshaled_dispatch(self, data, dispatch_method=None, path=None):
        answer = super()._marshaled_dispatch(data, dispatch_method, path)
        if self._drop:
            self._drop = False
            raise _Dropped
        return answer

    def handle_error(self, request, client_address):
        # A caller that hangs up, or a request that is no HTTP, is not worth a trace.
        log.info("a connection of %s failed", client_address, exc_info=True)
