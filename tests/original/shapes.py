"""Every frame a node may send: its type, and exactly which keys with values of which kind."""

import re

TEXT, COUNT, TEXTS, NAME = "text", "count", "texts", "text or null"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

ROOM = {
    "room_id": UUID,
    "room_name": TEXT,
    "description": NAME,
    "member_count": COUNT,
    "admin_node": TEXT,
    "creator_id": TEXT,
}
ROOM_OF_PEER = {**ROOM, "node_address": TEXT}
REFUSED = {"success": False, "message": TEXT}
FAILED = {"room_id": TEXT, "error": TEXT, "error_code": TEXT}
MEMBER = {"room_id": UUID, "username": TEXT, "member_count": COUNT, "timestamp": TIME}

SHAPES = {
    "error": [REFUSED],
    "rooms_list": [{"rooms": [ROOM], "total_count": COUNT}],
    "global_rooms_list": [
        {
            "rooms": [ROOM, ROOM_OF_PEER],
            "total_count": COUNT,
            "nodes_queried": TEXTS,
            "nodes_available": TEXTS,
            "nodes_unavailable": TEXTS,
        }
    ],
    "room_created": [
        {"room_id": UUID, "room_name": TEXT, "admin_node": TEXT, "members": TEXTS, "created_at": TIME},
        REFUSED,
    ],
    "join_room_success": [
        {
            "room_id": UUID,
            "room_name": TEXT,
            "description": NAME,
            "members": TEXTS,
            "member_count": COUNT,
            "admin_node": TEXT,
        }
    ],
    "join_room_error": [FAILED],
    "leave_room_success": [{"room_id": TEXT, "username": TEXT}],
    "message_sent": [{"room_id": UUID, "message_id": UUID, "sequence_number": COUNT, "timestamp": TIME}],
    "message_error": [FAILED],
    "new_message": [
        {
            "message_id": UUID,
            "room_id": UUID,
            "username": TEXT,
            "content": TEXT,
            "sequence_number": COUNT,
            "timestamp": TIME,
        }
    ],
    "member_joined": [MEMBER],
    "member_left": [MEMBER, {**MEMBER, "reason": TEXT}],
    "delete_room_initiated": [
        {"room_id": UUID, "transaction_id": UUID, "status": "in_progress"},
        {"room_id": UUID, "initiator": TEXT, "status": "in_progress"},
    ],
    "delete_room_success": [{"room_id": UUID, "transaction_id": UUID, "message": TEXT}],
    "delete_room_failed": [
        {"room_id": TEXT, "reason": TEXT, "error_code": TEXT},
        {"room_id": UUID, "reason": TEXT, "error_code": TEXT, "transaction_id": UUID},
    ],
    "room_deleted": [
        {"room_id": UUID, "room_name": TEXT, "message": TEXT},
        {"room_id": UUID, "room_name": TEXT, "transaction_id": TEXT},
    ],
    "delete_room_cancelled": [{"room_id": UUID, "transaction_id": TEXT}],
}


def check(frame):
    assert set(frame) == {"type", "data"}, frame
    shapes = SHAPES.get(frame["type"])
    assert shapes is not None, f"no frame of the protocol: {frame}"
    assert any(_fits(frame["data"], shape) for shape in shapes), f"not as the protocol has it: {frame}"


def _fits(value, shape):
    if isinstance(shape, dict):
        return isinstance(value, dict) and set(value) == set(shape) and all(
            _fits(value[key], shape[key]) for key in shape
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(any(_fits(item, one) for one in shape) for item in value)
    if isinstance(shape, re.Pattern):
        return isinstance(value, str) and shape.fullmatch(value) is not None
    if shape is TEXT:
        return isinstance(value, str)
    if shape is NAME:
        return value is None or isinstance(value, str)
    if shape is COUNT:
        return type(value) is int and value >= 0
    if shape is TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value == shape
