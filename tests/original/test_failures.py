"""Nodes that die, members that idle: who is told, and what is left."""

import signal
import unittest

from cluster import ClusterTest
from websockets.exceptions import ConnectionClosed


class Failures(ClusterTest):
    def two_in_a_room(self, *options):
        """`alice` at node1, which administers the room, and `bob` at node2."""
        nodes = self.cluster(2, *options)
        alice, bob = self.client(nodes[0]), self.client(nodes[1])
        room = alice.create(creator="alice")
        alice.join(room, "alice")
        bob.join(room, "bob")
        alice.get("member_joined", username="bob")
        return nodes, alice, bob, room

    def test_an_unreachable_node_shortens_the_list_of_rooms(self):
        nodes, alice, bob, room = self.two_in_a_room()
        nodes[0].kill()
        found = bob.ask("discover_rooms", "global_rooms_list")
        self.assertEqual((found["rooms"], found["nodes_unavailable"]), ([], ["node1"]))
        self.assertEqual(set(found["nodes_queried"]), {"node1", "node2"})
        self.assertEqual(found["nodes_available"], ["node2"])

    def test_members_of_a_dead_admin_node_are_not_told_and_its_restart_has_nothing(self):
        nodes, alice, bob, room = self.two_in_a_room("--heartbeat-seconds", "0.05")
        nodes[0].kill()
        refused = bob.ask("send_message", "message_error", room_id=room, username="bob", content="x")
        self.assertEqual((refused["error"], refused["error_code"]), ("Room not found", "ROOM_NOT_FOUND"))
        bob.ask("leave_room", "leave_room_success", room_id=room, username="bob")
        nodes[0].launch()
        nodes[0].wait_until_ready()
        self.assertEqual(nodes[0].report()["rooms"], {})
        found = bob.ask("discover_rooms", "global_rooms_list")
        self.assertEqual((found["rooms"], found["nodes_unavailable"]), ([], []))

    def test_only_nodes_with_members_are_asked_whether_they_live(self):
        nodes, *_ = self.two_in_a_room("--heartbeat-seconds", "0.05")
        self.eventually(lambda: nodes[1].report()["received"].get("heartbeat", 0) >= 3, "node2 is asked")
        self.assertEqual(nodes[0].report()["health"], {"node2": "healthy"})
        self.assertNotIn("heartbeat", nodes[0].report()["received"])

    def test_members_of_a_dead_node_are_removed_after_two_misses(self):
        nodes, alice, bob, room = self.two_in_a_room("--heartbeat-seconds", "0.05")
        nodes[1].kill()
        alice.get("member_left", username="bob", member_count=1, reason="Node unreachable")
        self.assertEqual(nodes[0].report()["health"], {"node2": "failed"})
        self.assertEqual(nodes[0].report()["made"]["heartbeat"]["failed"], 2)

    def test_a_node_that_answers_a_fault_has_failed_too_and_one_answer_makes_it_well(self):
        nodes, alice, bob, room = self.two_in_a_room("--heartbeat-seconds", "0.05")
        nodes[1].tell("fault heartbeat 2")
        alice.get("member_left", username="bob", reason="Node unreachable")
        # The failed node is not told, although its clients still listen, and therefore hear of their own return.
        bob.is_quiet()
        bob.say("join_room", room_id=room, username="bob")
        bob.get("member_joined", username="bob")
        bob.get("join_room_success")
        alice.get("member_joined", username="bob")
        self.eventually(lambda: nodes[0].report()["health"] == {"node2": "healthy"}, "node2 is well")

    def test_everybody_is_thrown_out_in_the_end_active_or_not_and_goes_on_listening(self):
        nodes, alice, bob, room = self.two_in_a_room("--cleanup-seconds", "0.05")
        nodes[0].tell("inactivity 0")
        for client in (alice, bob):
            client.get("member_left", username="alice", member_count=1, reason="Inactivity")
            client.get("member_left", username="bob", member_count=0, reason="Inactivity")
        nodes[0].tell("inactivity 900")
        refused = alice.ask("send_message", "message_error", room_id=room, username="alice", content="x")
        self.assertEqual(refused["error"], "Failed to add message")
        bob.say("join_room", room_id=room, username="bob")
        alice.get("member_joined", username="bob", member_count=1)
        bob.get("member_joined", username="bob", member_count=1)
        bob.get("join_room_success", members=["bob"])

    def test_text_that_xml_cannot_carry_stays_at_its_node_and_leaves_a_hole_elsewhere(self):
        nodes, alice, bob, room = self.two_in_a_room()
        self.assertEqual(alice.send(room, "alice", "ding \u0007"), 1)
        self.assertEqual(alice.send(room, "alice", "normal"), 2)
        bob.get("new_message", sequence_number=2, content="normal")
        refused = bob.ask("send_message", "message_error", room_id=room, username="bob", content="ding \u0007")
        self.assertEqual(refused["error_code"], "ADMIN_NODE_UNAVAILABLE")
        self.assertIn("Failed to contact administrator node: <Fault 1:", refused["error"])
        refused = bob.ask("join_room", "join_room_error", room_id=room, username="bob")
        self.assertIn("not well-formed", refused["error"])
        bob.ask("create_room", "room_created", room_name="bad \u0001", creator_id="bob")
        found = alice.ask("discover_rooms", "global_rooms_list")
        self.assertEqual(found["nodes_unavailable"], ["node2"])


class AdminAddress(ClusterTest):
    def test_the_address_in_the_list_is_used_and_only_if_there_is_none_the_configured_one(self):
        nodes = self.cluster(2)
        bob = self.client(nodes[1])
        room = self.client(nodes[0]).create()
        for address, code in (("http://127.0.0.1:1", "ADMIN_NODE_UNAVAILABLE"), ("", None)):
            nodes[0].tell(f"address {address}")
            bob.say("join_room", room_id=room, username="bob")
            frame = bob.next()
            self.assertEqual(frame["data"].get("error_code"), code, frame)
        refused = self.client(nodes[1])
        nodes[1].tell("peers other=" + nodes[0].rpc_url)
        answer = refused.ask("join_room", "join_room_error", room_id=room, username="vera")
        self.assertEqual(answer["error"], "Administrator node unavailable")


class Signals(ClusterTest):
    def ended_by(self, number):
        node = self.stand_in("node1")
        client = self.client(node)
        node.process.send_signal(number)
        with self.assertRaises(ConnectionClosed) as closed:
            client.next()
        return node.process.wait(20), closed.exception.rcvd

    def test_an_interrupt_closes_the_clients_and_a_termination_does_not(self):
        status, close = self.ended_by(signal.SIGINT)
        self.assertEqual((status, close.code), (0, 1001))
        self.assertEqual(self.ended_by(signal.SIGTERM), (-signal.SIGTERM, None))

    def test_the_node_that_stops_tells_no_other(self):
        nodes = self.cluster(2)
        alice, bob = self.client(nodes[0]), self.client(nodes[1])
        room = alice.create()
        alice.join(room, "alice")
        bob.join(room, "bob")
        alice.get("member_joined")
        nodes[1].process.send_signal(signal.SIGINT)
        self.assertEqual(nodes[1].process.wait(20), 0)
        alice.is_quiet()
        self.assertNotIn("notify_member_disconnect", nodes[0].report()["received"])


if __name__ == "__main__":
    unittest.main()
