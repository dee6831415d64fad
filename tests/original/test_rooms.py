"""Rooms whose members are on several nodes: who hears of what, in which order, and who does not."""

import unittest

from cluster import ClusterTest

DELETED = {"room_name": "hall", "transaction_id": "t"}

class ThreeNodes(ClusterTest):
    """`alice` and `dave` at node1, which administers the room, `bob` at node2, `carol` at node3, `heidi` nowhere."""

    def setUp(self):
        self.nodes = self.cluster(3)
        self.alice, self.dave, self.heidi = (self.client(self.nodes[0]) for _ in range(3))
        self.bob, self.carol = self.client(self.nodes[1]), self.client(self.nodes[2])

    def all_join(self):
        self.room = self.alice.create(creator="alice")
        self.alice.join(self.room, "alice")
        self.dave.join(self.room, "dave")
        self.bob.join(self.room, "bob")
        self.carol.join(self.room, "carol")
        self.hear([self.alice], "member_joined", username="dave", member_count=2)
        self.hear([self.alice, self.dave], "member_joined", username="bob", member_count=3)
        self.hear([self.alice, self.dave, self.bob], "member_joined", username="carol", member_count=4)

    def hear(self, clients, kind, **wanted):
        """All of them get the same frame."""
        frames = [client.get(kind, **wanted) for client in clients]
        self.assertTrue(all(frame == frames[0] for frame in frames), frames)
        return frames[0]

    def all_quiet(self):
        for client in (self.alice, self.dave, self.heidi, self.bob, self.carol):
            client.is_quiet()

    def test_rooms_of_all_nodes_are_discovered_local_ones_first(self):
        self.alice.create("lobby", "alice")
        other = self.bob.create("lobby", "bob", "same name, other node")
        found = self.alice.ask("discover_rooms", "global_rooms_list")
        self.assertEqual([room["admin_node"] for room in found["rooms"]], ["node1", "node2"])
        self.assertNotIn("node_address", found["rooms"][0])
        entry = {
            "room_id": other,
            "room_name": "lobby",
            "description": "same name, other node",
            "member_count": 0,
            "admin_node": "node2",
            "creator_id": "bob",
            "node_address": self.nodes[1].rpc_url,
        }
        self.assertEqual(found["rooms"][1], entry)
        self.assertEqual(found["total_count"], 2)
        self.assertEqual(found["nodes_queried"][0], "node1")
        self.assertEqual(set(found["nodes_queried"]), {"node1", "node2", "node3"})
        self.assertEqual(set(found["nodes_available"]), {"node1", "node2", "node3"})
        self.assertEqual(found["nodes_unavailable"], [])
        # Nobody was told of a new room.
        self.all_quiet()

    def test_a_first_join_is_told_to_all_but_the_joiner(self):
        self.all_join()
        self.all_quiet()

    def test_a_join_elsewhere_is_told_to_other_members_at_the_node_of_the_joiner(self):
        self.all_join()
        erin = self.client(self.nodes[2])
        joined, _ = erin.join(self.room, "erin")
        self.assertEqual(joined["members"], ["alice", "dave", "bob", "carol", "erin"])
        self.hear([self.alice, self.dave, self.bob, self.carol], "member_joined", username="erin", member_count=5)
        erin.is_quiet()
        self.all_quiet()

    def test_a_message_reaches_everybody_and_is_confirmed_after_it_was_shown(self):
        self.all_join()
        self.assertEqual(self.alice.send(self.room, "alice", 'hello <b>&"é漢😀'), 1)
        self.hear([self.dave, self.bob, self.carol], "new_message", sequence_number=1, content='hello <b>&"é漢😀')
        self.bob.say("send_message", room_id=self.room, username="bob", content="two ]]> \r\n tab\t end")
        # On its way to the admin node a carriage return is lost.
        everybody = [self.alice, self.dave, self.bob, self.carol]
        shown = self.hear(everybody, "new_message", sequence_number=2, content="two ]]> \n tab\t end")
        self.bob.get("message_sent", message_id=shown["message_id"], sequence_number=2)
        self.all_quiet()

    def test_whoever_joins_late_gets_the_history_on_whichever_node(self):
        self.all_join()
        for n in (1, 2, 3):
            self.alice.send(self.room, "alice", f"message {n}")
        for node in (self.nodes[0], self.nodes[2]):
            late = self.client(node)
            _, history = late.join(self.room, f"late at {node.node_id}", history=3)
            self.assertEqual([message["sequence_number"] for message in history], [1, 2, 3])
            self.assertEqual([message["content"] for message in history], [f"message {n}" for n in (1, 2, 3)])
            late.is_quiet()

    def test_a_join_again_causes_no_event_and_gives_the_history_again(self):
        self.all_join()
        self.alice.send(self.room, "alice", "one")
        self.hear([self.dave, self.bob, self.carol], "new_message", content="one")
        for client, name in ((self.dave, "dave"), (self.bob, "bob")):
            joined, _ = client.join(self.room, name, history=1)
            self.assertEqual(joined["member_count"], 4)
        self.all_quiet()

    def test_a_leave_is_told_to_all_but_the_leaver(self):
        self.all_join()
        self.carol.ask("leave_room", "leave_room_success", room_id=self.room, username="carol")
        event = self.hear([self.alice, self.dave, self.bob], "member_left", username="carol", member_count=3)
        self.assertNotIn("reason", event)
        self.dave.ask("leave_room", "leave_room_success", room_id=self.room, username="dave")
        self.hear([self.alice, self.bob], "member_left", username="dave", member_count=2)
        for client in (self.carol, self.dave):
            refused = client.ask("send_message", "message_error", room_id=self.room, username="x", content="x")
            self.assertEqual(refused["error_code"], "NOT_MEMBER")
        self.all_quiet()

    def test_a_leave_of_nobody_is_announced_at_the_admin_node_only_there(self):
        self.all_join()
        self.bob.ask("leave_room", "leave_room_success", room_id=self.room, username="ghost")
        self.all_quiet()
        self.heidi.ask("leave_room", "leave_room_success", room_id=self.room, username="ghost")
        self.hear([self.alice, self.dave, self.carol], "member_left", username="ghost", member_count=4)
        # bob's leave for another cost him his own subscription, not his membership.
        self.all_quiet()

    def test_anybody_can_evict_anybody_who_goes_on_listening(self):
        self.all_join()
        self.heidi.ask("leave_room", "leave_room_success", room_id=self.room, username="alice")
        self.hear([self.alice, self.dave, self.bob, self.carol], "member_left", username="alice", member_count=3)
        refused = self.alice.ask("send_message", "message_error", room_id=self.room, username="alice", content="?")
        self.assertEqual(refused["error"], "Failed to add message")
        self.dave.send(self.room, "dave", "bye")
        self.hear([self.alice, self.bob, self.carol], "new_message", content="bye")

    def test_a_lost_connection_is_told_with_its_reason(self):
        self.all_join()
        self.carol.close()
        left = {"username": "carol", "member_count": 3, "reason": "User disconnected"}
        self.hear([self.alice, self.dave, self.bob], "member_left", **left)
        self.dave.close()
        left = {"username": "dave", "member_count": 2, "reason": "User disconnected"}
        self.hear([self.alice, self.bob], "member_left", **left)
        self.alice.is_quiet()
        self.bob.is_quiet()

    def test_one_of_several_connections_of_a_name_removes_it_for_all(self):
        room = self.alice.create(creator="alice")
        self.alice.join(room, "alice")
        self.dave.join(room, "alice")
        self.bob.join(room, "alice")
        self.alice.close()
        left = {"username": "alice", "member_count": 0, "reason": "User disconnected"}
        self.hear([self.dave, self.bob], "member_left", **left)
        for client, code in ((self.dave, "INTERNAL_ERROR"), (self.bob, "NOT_MEMBER")):
            refused = client.ask("send_message", "message_error", room_id=room, username="alice", content="?")
            self.assertEqual(refused["error_code"], code)

    def test_two_names_on_one_connection_get_everything_twice_and_leave_one_behind(self):
        room = self.alice.create(creator="alice")
        self.alice.join(room, "alice")
        self.alice.join(room, "alias")
        self.bob.join(room, "bob")
        for _ in range(2):
            self.alice.get("member_joined", username="bob", member_count=3)
        self.alice.close()
        self.bob.get("member_left", username="alias", member_count=2)
        self.bob.is_quiet()

    def test_a_deletion_is_announced_at_the_admin_node_and_told_everywhere(self):
        self.all_join()
        refused = self.bob.ask("delete_room", "delete_room_failed", room_id=self.room, username="alice")
        self.assertEqual((refused["reason"], refused["error_code"]), ("Room not found", "ROOM_NOT_FOUND"))
        self.alice.say("delete_room", room_id=self.room, username="alice")
        transaction = self.alice.get("delete_room_initiated", room_id=self.room)["transaction_id"]
        self.hear([self.alice, self.dave], "delete_room_initiated", initiator="alice")
        self.hear([self.bob, self.carol], "room_deleted", room_name="hall", transaction_id=transaction)
        self.alice.get("delete_room_success", transaction_id=transaction, message="Room deleted successfully")
        self.hear([self.alice, self.dave], "room_deleted", message="Room 'hall' has been deleted")
        self.all_quiet()
        for client in (self.alice, self.bob):
            refused = client.ask("send_message", "message_error", room_id=self.room, username="x", content="x")
            self.assertEqual(refused["error_code"], "ROOM_NOT_FOUND")
        # The admin node has forgotten who listened; the others go on.
        for node in self.nodes:
            node.call("receive_member_event_broadcast", self.room, "room_deleted", {**DELETED, "room_id": self.room})
        self.hear([self.bob, self.carol], "room_deleted", transaction_id="t")
        self.all_quiet()

    def test_members_on_all_nodes_see_one_order(self):
        self.all_join()
        clients = {"alice": self.alice, "dave": self.dave, "bob": self.bob, "carol": self.carol}
        for n in range(1, 13):
            name = list(clients)[n % 4]
            self.assertEqual(clients[name].send(self.room, name, str(n)), n)
            others = [client for other, client in clients.items() if other != name]
            self.hear(others, "new_message", sequence_number=n, content=str(n))


class LongRoom(ClusterTest):
    def test_only_the_newest_100_messages_are_handed_out(self):
        nodes = self.cluster(2)
        alice = self.client(nodes[0])
        room = alice.create()
        alice.join(room, "alice")
        for n in range(1, 106):
            self.assertEqual(alice.send(room, "alice", str(n)), n)
        for node in nodes:
            late = self.client(node)
            _, history = late.join(room, node.node_id, history=100)
            self.assertEqual([message["sequence_number"] for message in history], list(range(6, 106)))
            late.is_quiet()


if __name__ == "__main__":
    unittest.main()
