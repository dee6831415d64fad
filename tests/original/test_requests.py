"""One node, one client: what is answered to each request, in the words of the original."""

import http.client
import unittest

from cluster import ClusterTest
from websockets.exceptions import ConnectionClosed


class Requests(ClusterTest):
    def setUp(self):
        self.node = self.stand_in("node1")
        self.ines = self.client(self.node)

    def answers(self, request, kind, **data):
        """Sends a text and expects exactly this answer."""
        self.ines.raw(request)
        self.assertEqual(self.ines.next(), {"type": kind, "data": data}, request)

    def refuses(self, request, message, kind="error"):
        self.answers(request, kind, success=False, message=message)

    def test_a_request_that_is_none_is_answered_by_an_error(self):
        self.refuses("not json", "Invalid JSON format")
        self.refuses("", "Invalid JSON format")
        self.refuses("[]", "'list' object has no attribute 'get'")
        self.refuses('"str"', "'str' object has no attribute 'get'")
        self.refuses("42", "'int' object has no attribute 'get'")
        self.refuses("null", "'NoneType' object has no attribute 'get'")
        self.refuses("{}", "Unknown message type: None")
        self.refuses('{"type":"nope"}', "Unknown message type: nope")
        self.refuses('{"type":["x"]}', "Unknown message type: ['x']")
        self.refuses('{"type":"LIST_ROOMS"}', "Unknown message type: LIST_ROOMS")
        for kind in ("join_room", "leave_room", "send_message", "delete_room"):
            self.refuses(f'{{"type":"{kind}","data":null}}', "'NoneType' object has no attribute 'get'")

    def test_lists_need_no_data_and_unknown_keys_are_ignored(self):
        self.answers('{"type":"list_rooms","data":null,"id":7}', "rooms_list", rooms=[], total_count=0)
        self.ines.raw(b'{"type":"list_rooms"}')
        self.ines.get("rooms_list", total_count=0)
        own = {"nodes_queried": ["node1"], "nodes_available": ["node1"], "nodes_unavailable": []}
        self.answers(
            '{"type":"discover_rooms","scope":"global"}', "global_rooms_list", rooms=[], total_count=0, **own
        )

    def test_a_room_is_created_once_per_name(self):
        for data in ("null", '"str"', "5"):
            self.refuses(f'{{"type":"create_room","data":{data}}}', "Internal server error", "room_created")
        for data in ("{}", '{"room_name":"","creator_id":"u"}', '{"room_name":"n"}', '{"creator_id":"u"}'):
            missing = "Missing room_name or creator_id"
            self.refuses(f'{{"type":"create_room","data":{data}}}', missing, "room_created")
        self.refuses('{"type":"create_room"}', "Missing room_name or creator_id", "room_created")
        request = {"room_name": "hall", "creator_id": "ines"}
        created = self.ines.ask("create_room", "room_created", **request)
        self.assertEqual((created["room_name"], created["admin_node"], created["members"]), ("hall", "node1", []))
        refused = self.ines.ask("create_room", "room_created", **request)
        self.assertEqual(refused, {"success": False, "message": "Room with name 'hall' already exists"})
        listed = self.ines.ask("list_rooms", "rooms_list")
        entry = {
            "room_id": created["room_id"],
            "room_name": "hall",
            "description": None,
            "member_count": 0,
            "admin_node": "node1",
            "creator_id": "ines",
        }
        self.assertEqual(listed, {"rooms": [entry], "total_count": 1})

    def test_what_is_no_text_is_kept_as_it_is(self):
        self.ines.raw('{"type":"create_room","data":{"room_name":123,"creator_id":7,"description":["d"]}}')
        # Not `next`: this is no frame that a client of the original would ever cause.
        self.assertIn('"room_name": 123', self.ines.socket.recv())

    def test_a_join_is_refused_with_a_code(self):
        def refused(data, room_id, error, code):
            request = f'{{"type":"join_room","data":{data}}}'
            self.answers(request, "join_room_error", room_id=room_id, error=error, error_code=code)

        missing = "Missing room_id or username"
        refused("{}", "", missing, "INVALID_REQUEST")
        refused('{"room_id":"x"}', "x", missing, "INVALID_REQUEST")
        refused('{"username":"u"}', "", missing, "INVALID_REQUEST")
        refused('{"room_id":"nope","username":"u"}', "nope", "Room not found", "ROOM_NOT_FOUND")
        self.ines.raw('{"type":"join_room","data":{"room_id":["l"],"username":"u"}}')
        self.assertIn("unhashable type: 'list'", self.ines.socket.recv())
        flat = '{"type":"join_room","room_id":"r","username":"u"}'
        self.answers(flat, "join_room_error", room_id="", error=missing, error_code="INVALID_REQUEST")

    def test_a_leave_always_succeeds_if_it_says_who_and_where(self):
        self.refuses('{"type":"leave_room","data":{}}', "Missing room_id or username")
        self.refuses('{"type":"leave_room","data":{"room_id":"x"}}', "Missing room_id or username")
        request = '{"type":"leave_room","data":{"room_id":"nope","username":"u"}}'
        self.answers(request, "leave_room_success", room_id="nope", username="u")

    def test_a_message_is_refused_in_the_order_of_the_checks(self):
        def refused(error, code, **data):
            answer = self.ines.ask("send_message", "message_error", **data)
            self.assertEqual(answer, {"room_id": data.get("room_id", ""), "error": error, "error_code": code})

        refused("Missing room_id or username", "INVALID_REQUEST")
        at = {"room_id": "x", "username": "u"}
        refused("Message content cannot be empty", "INVALID_CONTENT", **at)
        refused("Message content cannot be empty", "INVALID_CONTENT", **at, content="")
        refused("Message content too long (max 5000 characters)", "INVALID_CONTENT", **at, content="y" * 5001)
        refused("object of type 'int' has no len()", "INTERNAL_ERROR", **at, content=5)
        refused("You are not a member of this room", "NOT_MEMBER", **at, content="y" * 5000)

    def test_a_member_of_another_name_cannot_send(self):
        room = self.ines.create()
        self.ines.join(room, "ines")
        refused = self.ines.ask("send_message", "message_error", room_id=room, username="zed", content="x")
        self.assertEqual((refused["error"], refused["error_code"]), ("Failed to add message", "INTERNAL_ERROR"))

    def test_any_member_may_speak_for_another(self):
        room = self.ines.create()
        self.ines.join(room, "ines")
        otto = self.client(self.node)
        otto.join(room, "otto")
        self.ines.get("member_joined", username="otto")
        self.assertEqual(otto.send(room, "ines", "I am not ines"), 1)
        self.ines.get("new_message", username="ines")

    def test_a_message_has_5000_characters_whatever_they_are(self):
        room = self.ines.create()
        self.ines.join(room, "ines")
        self.assertEqual(self.ines.send(room, "ines", "😀" * 5000), 1)
        self.assertEqual(self.ines.send(room, "ines", " "), 2)

    def test_a_deletion_is_refused_in_the_order_of_the_checks(self):
        def refused(reason, code, **data):
            answer = self.ines.ask("delete_room", "delete_room_failed", **data)
            self.assertEqual(answer, {"room_id": data.get("room_id", ""), "reason": reason, "error_code": code})

        refused("Missing room_id or username", "INVALID_REQUEST")
        refused("Missing room_id or username", "INVALID_REQUEST", room_id="x")
        refused("Room not found", "ROOM_NOT_FOUND", room_id="nope", username="u")
        room = self.ines.create()
        refused("Only the room creator can delete the room", "UNAUTHORIZED", room_id=room, username="otto")
        self.node.call("prepare_delete_room", room, "t1", "node4")
        pending = "Room is in DELETION_PENDING state, cannot delete"
        refused(pending, "INVALID_STATE", room_id=room, username="ines")


class Handshake(ClusterTest):
    def test_every_path_is_accepted_and_no_protocol_is_chosen(self):
        node = self.stand_in("node1")
        for path in ("", "/", "/ws", "/any/thing?x=1"):
            client = self.client(node, path, subprotocols=["chat", "foo"])
            self.assertIsNone(client.socket.subprotocol)
            self.assertEqual(client.socket.response.status_code, 101)
            client.is_quiet()

    def test_who_speaks_plain_http_must_upgrade(self):
        node = self.stand_in("node1")
        plain = http.client.HTTPConnection("127.0.0.1", node.websocket_port)
        self.addCleanup(plain.close)
        plain.request("GET", "/")
        self.assertEqual(plain.getresponse().status, 426)

    def test_a_frame_of_more_than_a_mebibyte_closes_with_1009(self):
        client = self.client(self.stand_in("node1"))
        pad = "x" * (2**20 - 100)
        client.raw(f'{{"type":"list_rooms","pad":"{pad}"}}')
        client.get("rooms_list")
        client.raw(f'{{"type":"list_rooms","pad":"{pad * 2}"}}')
        with self.assertRaises(ConnectionClosed) as closed:
            client.next()
        self.assertEqual(closed.exception.rcvd.code, 1009)


if __name__ == "__main__":
    unittest.main()
