"""Deletion of a room by two-phase commit: this node as coordinator. All peers take part, members or not, alive or not."""

import uuid
from concurrent.futures import ThreadPoolExecutor, wait

from websockets.exceptions import ConnectionClosed

from . import state
from .audience import Connection
from .node import Node

# Seconds.
PREPARE_TIMEOUT = 5
COMMIT_TIMEOUT = 5
ROLLBACK_TIMEOUT = 5


def delete_room(node: Node, requester: Connection, data) -> None:
    room_id, username = data.get("room_id"), data.get("username")
    try:
        refusal = _refusal(node, room_id, username)
        if refusal is not None:
            _failed(requester, room_id or "", *refusal)
            return
        room = node.rooms.get(room_id)
        if not node.rooms.begin_deletion(room):
            _failed(requester, room_id, "Failed to start deletion transaction", "INTERNAL_ERROR")
            return
        # If anything below raises, the room is stuck: nothing takes the state back.
        _run(node, requester, room, username)
    except ConnectionClosed:
        raise
    except Exception as error:
        _failed(requester, room_id or "", str(error), "INTERNAL_ERROR")


def _refusal(node: Node, room_id, username) -> tuple[str, str] | None:
    if not room_id or not username:
        return "Missing room_id or username", "INVALID_REQUEST"
    room = node.rooms.get(room_id)
    if room is None:
        return "Room not found", "ROOM_NOT_FOUND"
    if room.creator_id != username:
        return "Only the room creator can delete the room", "UNAUTHORIZED"
    if room.state != state.ACTIVE:
        return f"Room is in {room.state} state, cannot delete", "INVALID_STATE"
    return None


def _run(node: Node, requester: Connection, room: state.Room, initiator) -> None:
    room_id, transaction = room.room_id, str(uuid.uuid4())
    begun = {"room_id": room_id, "transaction_id": transaction, "status": "in_progress"}
    requester.send("delete_room_initiated", begun)
    told = {"room_id": room_id, "initiator": initiator, "status": "in_progress"}
    node.audience.push(room_id, "delete_room_initiated", told)

    votes = _ask_all(node, PREPARE_TIMEOUT, "prepare_delete_room", room_id, transaction, node.node_id)
    reason = _reason_against(votes)
    if reason is not None:
        room.state = state.ROLLING_BACK
        _ask_all(node, ROLLBACK_TIMEOUT, "rollback_delete_room", room_id, transaction)
        room.state = state.ACTIVE
        _failed(requester, room_id, reason, "DELETION_FAILED", transaction_id=transaction)
        return

    room.state = state.COMMITTING
    _ask_all(node, COMMIT_TIMEOUT, "commit_delete_room", room_id, transaction, room.room_name)
    node.rooms.delete(room_id)
    done = {"room_id": room_id, "transaction_id": transaction, "message": "Room deleted successfully"}
    requester.send("delete_room_success", done)
    message = f"Room '{room.room_name}' has been deleted"
    told = {"room_id": room_id, "room_name": room.room_name, "message": message}
    node.audience.push(room_id, "room_deleted", told)
    node.audience.forget_room(room_id)


def _reason_against(votes: dict) -> str | None:
    """Only ABORT and silence are no READY; of several, the last one is named."""
    reason = None
    for node_id, vote in votes.items():
        if vote is None:
            reason = f"Node {node_id} timed out"
        elif vote.get("vote") == "ABORT":
            reason = vote.get("reason") or f"Node {node_id} voted ABORT"
    return reason


def _ask_all(node: Node, seconds: float, method: str, *params) -> dict:
    """The answers of all peers, asked at the same time; None for whoever gave none.

    If the time runs out, nobody's answer counts. And it is waited for the last one all the same, for leaving the pool
    waits for its threads.
    """
    peers = dict(node.peers.addresses)
    if not peers:
        return {}
    with ThreadPoolExecutor(max_workers=len(peers)) as pool:
        asked = {
            node_id: pool.submit(node.peers.call, address, method, *params) for node_id, address in peers.items()
        }
        in_time = not wait(asked.values(), timeout=seconds * node.patience).not_done
    if not in_time:
        return dict.fromkeys(peers)
    return {node_id: None if call.exception() else call.result() for node_id, call in asked.items()}


def _failed(requester: Connection, room_id, reason: str, code: str, **more) -> None:
    requester.send("delete_room_failed", {"room_id": room_id, "reason": reason, "error_code": code, **more})
