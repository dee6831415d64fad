"""The port for other nodes: what each method answers, and how HTTP and XML are handled."""

import gzip
import json
import socket
import unittest
from xmlrpc.client import Fault, ServerProxy, dumps

from cluster import ClusterTest

NOT_FOUND = {"success": False, "message": "Room not found", "error_code": "ROOM_NOT_FOUND"}


class Methods(ClusterTest):
    """`alice` is in a room of the node."""

    def setUp(self):
        self.node = self.stand_in("node1")
        self.call = self.node.call
        self.alice = self.client(self.node)
        self.room = self.alice.create("R & D <x>", "alice")
        self.alice.join(self.room, "alice")

    def fault(self, method, *params):
        with self.assertRaises(Fault) as raised:
            self.call(method, *params)
        self.assertEqual(raised.exception.faultCode, 1)
        return raised.exception.faultString

    def test_a_heartbeat_is_answered(self):
        answer = self.call("heartbeat")
        self.assertEqual(set(answer), {"status", "node_id", "timestamp"})
        self.assertEqual((answer["status"], answer["node_id"]), ("ok", "node1"))

    def test_hosted_rooms_have_the_address_of_the_node(self):
        entry = {
            "room_id": self.room,
            "room_name": "R & D <x>",
            "description": None,
            "member_count": 1,
            "admin_node": "node1",
            "creator_id": "alice",
            "node_address": f"http://node1:{self.node.xmlrpc_port}",
        }
        self.assertEqual(self.call("get_hosted_rooms"), [entry])

    def test_a_join_gives_room_and_history_and_is_announced_once(self):
        joined = self.call("join_room", self.room, "bob", "node4")
        info = {
            "room_id": self.room,
            "room_name": "R & D <x>",
            "description": None,
            "members": ["alice", "bob"],
            "member_count": 2,
            "admin_node": "node1",
        }
        first = {"success": True, "message": "Successfully joined room", "room_info": info, "messages": []}
        self.assertEqual(joined, first)
        self.alice.get("member_joined", username="bob", member_count=2)
        sent = self.call("forward_message", self.room, "bob", "hi é", "node4")
        self.assertEqual(set(sent), {"success", "message_id", "sequence_number", "timestamp"})
        shown = self.alice.get("new_message", content="hi é", sequence_number=1, message_id=sent["message_id"])
        again = self.call("join_room", self.room, "bob", "node5")
        expected = {**first, "message": "Already in room, re-registered", "messages": [shown]}
        self.assertEqual(again, expected)
        self.alice.is_quiet()
        self.assertEqual(self.node.report()["rooms"][self.room]["members"], {"alice": "node1", "bob": "node4"})
        self.assertEqual(self.call("join_room", "nope", "bob", "node4"), {**NOT_FOUND, "room_info": None})

    def test_a_forwarded_message_is_refused_in_the_order_of_the_checks(self):
        def refused(error, code, *params):
            answer = self.call("forward_message", *params, "node4")
            self.assertEqual(answer, {"success": False, "error": error, "error_code": code})

        refused("Message content cannot be empty", "INVALID_CONTENT", "nope", "bob", "")
        refused("Message content cannot be empty", "INVALID_CONTENT", "nope", "bob", None)
        too_long = "Message content too long (max 5000 characters)"
        refused(too_long, "INVALID_CONTENT", "nope", "bob", "x" * 5001)
        refused("Room not found", "ROOM_NOT_FOUND", "nope", "bob", "x")
        refused("You are not a member of this room", "NOT_MEMBER", self.room, "zed", "x")
        text = self.fault("forward_message", self.room, "alice", 5, "node4")
        self.assertEqual(text, "<class 'TypeError'>:object of type 'int' has no len()")
        self.alice.is_quiet()
        self.assertEqual(self.alice.send(self.room, "alice", "first"), 1)

    def test_a_leave_and_a_lost_member_are_answered_and_announced(self):
        self.call("join_room", self.room, "bob", "node4")
        self.alice.get("member_joined")
        left = self.call("leave_room", self.room, "bob", "node5")
        self.assertEqual(left, {"success": True, "message": "Successfully left room"})
        self.assertNotIn("reason", self.alice.get("member_left", username="bob", member_count=1))
        left = self.call("leave_room", self.room, "bob", "node4")
        self.assertEqual(left, {"success": False, "message": "Not in room", "error_code": "NOT_IN_ROOM"})
        self.assertEqual(self.call("leave_room", "nope", "bob", "node4"), NOT_FOUND)

        for reason, params in (("User disconnected", ()), ("Node unreachable", ("Node unreachable",))):
            self.call("join_room", self.room, "bob", "node4")
            self.alice.get("member_joined")
            gone = self.call("notify_member_disconnect", self.room, "bob", "node5", *params)
            self.assertEqual(gone, {"success": True, "message": "Member removed successfully"})
            self.alice.get("member_left", username="bob", member_count=1, reason=reason)
        gone = self.call("notify_member_disconnect", self.room, "bob", "node4")
        self.assertEqual(gone, {"success": True, "message": "User not in room"})
        gone = self.call("notify_member_disconnect", "nope", "bob", "node4", "x")
        self.assertEqual(gone, {"success": False, "message": "Room not found"})
        self.alice.is_quiet()

    def test_events_are_passed_on_as_they_come(self):
        message = {"message_id": "m", "sequence_number": 77, "content": "forged"}
        self.assertIs(self.call("receive_message_broadcast", self.room, message), True)
        self.assertEqual(self.raw(), {"type": "new_message", "data": message})
        event = {"username": "q", "n": 1, "nothing": None, "list": [1, "x"]}
        self.assertIs(self.call("receive_member_event_broadcast", self.room, "made_up_event", event), True)
        self.assertEqual(self.raw(), {"type": "made_up_event", "data": event})
        self.assertIs(self.call("receive_message_broadcast", "nope", {"a": 1}), True)
        text = self.fault("receive_message_broadcast", self.room, "no struct")
        self.assertEqual(text, "<class 'AttributeError'>:'str' object has no attribute 'get'")

    def raw(self):
        """The next frame, which need not be one of the protocol."""
        return json.loads(self.alice.socket.recv())

    def test_a_participant_without_the_room_is_ready_and_tells_its_clients(self):
        vote = self.call("prepare_delete_room", "nope", "t1", "node4")
        self.assertEqual(vote, {"vote": "READY", "node_id": "node1", "transaction_id": "t1"})
        done = {"success": True, "node_id": "node1"}
        self.assertEqual(self.call("commit_delete_room", "nope", "t1"), done)
        self.assertEqual(self.call("commit_delete_room", "nope", "t1", None), done)
        self.assertEqual(self.call("rollback_delete_room", "nope", "t1"), done)
        self.alice.is_quiet()

    def test_a_participant_with_the_room_obeys_anybody(self):
        vote = {"vote": "READY", "node_id": "node1", "transaction_id": "t1"}
        self.assertEqual(self.call("prepare_delete_room", self.room, "t1", "node4"), vote)
        against = {"vote": "ABORT", "node_id": "node1", "transaction_id": "t2"}
        against["reason"] = "Room in DELETION_PENDING state"
        self.assertEqual(self.call("prepare_delete_room", self.room, "t2", "node4"), against)
        # Nothing stands still meanwhile.
        self.assertEqual(self.alice.send(self.room, "alice", "during deletion"), 1)
        self.call("rollback_delete_room", self.room, "t-unknown")
        self.alice.get("delete_room_cancelled", room_id=self.room, transaction_id="t-unknown")
        self.assertEqual(self.call("prepare_delete_room", self.room, "t3", "node4")["vote"], "READY")
        self.call("commit_delete_room", self.room, "t-other")
        self.alice.get("room_deleted", room_id=self.room, room_name="R & D <x>", transaction_id="t-other")
        self.assertEqual(self.alice.ask("list_rooms", "rooms_list")["total_count"], 0)

    def test_what_cannot_be_called_is_a_fault(self):
        for method in ("dance", "chat.capabilities", "system.listMethods", "_node"):
            text = self.fault(method)
            self.assertEqual(text, f"<class 'Exception'>:method \"{method}\" is not supported")
        self.assertIn("missing 2 required positional arguments", self.fault("join_room", self.room))
        self.assertIn("<class 'TypeError'>", self.fault("heartbeat", 1))


class Http(ClusterTest):
    HEARTBEAT = dumps((), "heartbeat").encode()

    def setUp(self):
        self.node = self.stand_in("node1")

    def raw(self, head, body=b"", length=True):
        with socket.create_connection(("127.0.0.1", self.node.xmlrpc_port), timeout=20) as connection:
            if length:
                head += f"\r\nContent-Length: {len(body)}"
            connection.sendall(head.encode() + b"\r\n\r\n" + body)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def status(self, *request, **more):
        return self.raw(*request, **more).split(b"\r\n", 1)[0].decode()

    def test_paths_and_methods(self):
        for path, status in (
            ("/RPC2", "HTTP/1.0 200 OK"),
            ("/", "HTTP/1.0 200 OK"),
            ("//", "HTTP/1.0 200 OK"),
            ("/RPC2/", "HTTP/1.0 404 Not Found"),
            ("/RPC2?x=1", "HTTP/1.0 404 Not Found"),
            ("/xmlrpc", "HTTP/1.0 404 Not Found"),
        ):
            self.assertEqual(self.status(f"POST {path} HTTP/1.1", self.HEARTBEAT), status, path)
        self.assertEqual(self.status("GET /RPC2 HTTP/1.1"), "HTTP/1.0 501 Unsupported method ('GET')")

    def test_a_connection_ends_with_its_answer(self):
        answer = self.raw("POST /RPC2 HTTP/1.1\r\nConnection: keep-alive", self.HEARTBEAT)
        self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK"), answer)
        self.assertEqual(answer.count(b"<methodResponse>"), 1)

    def test_a_body_without_a_length_is_an_error(self):
        head = "POST /RPC2 HTTP/1.1\r\nTransfer-Encoding: chunked"
        self.assertEqual(self.status(head, b"0\r\n\r\n", length=False), "HTTP/1.0 500 Internal Server Error")

    def test_bad_xml_is_a_fault(self):
        for body in (b"", b"<methodCall>", b"no xml"):
            answer = self.raw("POST /RPC2 HTTP/1.1", body)
            self.assertIn(b"xml.parsers.expat.ExpatError", answer)
            self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK"), answer)

    def test_long_answers_are_packed_for_whoever_takes_that_and_packed_calls_are_understood(self):
        client = self.client(self.node)
        for n in range(10):
            client.create(f"room {n}")
        call = dumps((), "get_hosted_rooms").encode()
        packed = self.raw("POST /RPC2 HTTP/1.1\r\nAccept-Encoding: gzip", call)
        self.assertIn(b"Content-Encoding: gzip", packed)
        plain = self.raw("POST /RPC2 HTTP/1.1", call)
        self.assertNotIn(b"Content-Encoding", plain)
        self.assertEqual(gzip.decompress(packed.split(b"\r\n\r\n", 1)[1]), plain.split(b"\r\n\r\n", 1)[1])
        answer = self.raw("POST /RPC2 HTTP/1.1\r\nContent-Encoding: gzip", gzip.compress(self.HEARTBEAT))
        self.assertIn(b"<string>ok</string>", answer)

    def test_an_idle_connection_keeps_all_others_waiting(self):
        idle = socket.create_connection(("127.0.0.1", self.node.xmlrpc_port))
        with socket.create_connection(("127.0.0.1", self.node.xmlrpc_port), timeout=0.3) as other:
            head = f"POST /RPC2 HTTP/1.1\r\nContent-Length: {len(self.HEARTBEAT)}\r\n\r\n".encode()
            other.sendall(head + self.HEARTBEAT)
            with self.assertRaises(TimeoutError):
                other.recv(1)
            idle.close()
            other.settimeout(20)
            self.assertEqual(other.recv(4), b"HTTP")

    def test_other_integers_and_terse_xml_are_understood(self):
        client = self.client(self.node)
        room = client.create()
        client.join(room, "ines")
        values = "".join(
            f"<member><name>{name}</name><value>{value}</value></member>"
            for name, value in (("a", "<i4>4</i4>"), ("b", "<i8>5000000000</i8>"), ("c", "<ex:nil/>"), ("d", "plain"))
        )
        params = f"<value>{room}</value>", "<value>ev</value>", f"<value><struct>{values}</struct></value>"
        body = "".join(f"<param>{value}</param>" for value in params)
        method = "<methodName>receive_member_event_broadcast</methodName>"
        call = f"<methodCall>{method}<params>{body}</params></methodCall>".encode()
        self.assertIn(b"<boolean>1</boolean>", self.raw("POST / HTTP/1.0", call))
        self.assertIn('{"a": 4, "b": 5000000000, "c": null, "d": "plain"}', client.socket.recv())


class PlainProxy(ClusterTest):
    def test_the_addresses_of_the_library_work_with_and_without_a_path(self):
        node = self.stand_in("node1")
        for path in ("", "/", "/RPC2"):
            with ServerProxy(node.rpc_url + path) as proxy:
                self.assertEqual(proxy.heartbeat()["status"], "ok")


if __name__ == "__main__":
    unittest.main()
