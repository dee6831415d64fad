"""The node as coordinator of a deletion: which votes it takes for what, and whom it tells how it ended."""

import threading
import unittest
from xmlrpc.server import SimpleXMLRPCServer

from cluster import ClusterTest


class Peer:
    """A node with prepared answers, which notes what it is called. An exception among the answers is a fault."""

    def __init__(self, **answers):
        self.answers = {"get_hosted_rooms": [], "commit_delete_room": True, "rollback_delete_room": True, **answers}
        self.calls = []
        self.server = SimpleXMLRPCServer(("127.0.0.1", 0), allow_none=True, logRequests=False)
        self.server.register_instance(self)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.rpc_url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def _dispatch(self, method, params):
        self.calls.append((method, *params))
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Votes(ClusterTest):
    def setUp(self):
        self.node = self.stand_in("node1")
        self.alice = self.client(self.node)

    def delete(self, **answers):
        """Deletes an empty room beside a peer with these answers; gives the last frame and what the peer was called."""
        peer = Peer(**answers)
        self.addCleanup(peer.close)
        self.node.tell(f"peers node4={peer.rpc_url}")
        room = self.alice.create(f"room {id(peer)}", "alice")
        self.alice.say("delete_room", room_id=room, username="alice")
        begun = self.alice.get("delete_room_initiated", room_id=room)
        ended = self.alice.next()
        calls = {call[0]: call[1:] for call in peer.calls}
        self.assertEqual(calls["prepare_delete_room"], (room, begun["transaction_id"], "node1"))
        return ended, begun["transaction_id"], room, calls

    def test_whatever_is_not_an_abort_is_ready(self):
        for vote in ({"vote": "READY"}, {"vote": "MAYBE"}, {}):
            ended, transaction, room, calls = self.delete(prepare_delete_room=vote)
            done = {"room_id": room, "transaction_id": transaction, "message": "Room deleted successfully"}
            self.assertEqual(ended, {"type": "delete_room_success", "data": done})
            self.assertEqual(calls["commit_delete_room"][:2], (room, transaction))
            self.assertTrue(calls["commit_delete_room"][2].startswith("room "))

    def test_nobody_cares_what_a_commit_is_answered(self):
        for answer in ({"success": False, "error": "no"}, Exception("no"), None):
            ended, *_ = self.delete(prepare_delete_room={"vote": "READY"}, commit_delete_room=answer)
            self.assertEqual(ended["type"], "delete_room_success")

    def test_an_abort_or_silence_rolls_back_and_names_the_node(self):
        for vote, reason in (
            ({"vote": "ABORT"}, "Node node4 voted ABORT"),
            ({"vote": "ABORT", "reason": "no mood"}, "no mood"),
            (Exception("boom"), "Node node4 timed out"),
            (None, "Node node4 timed out"),
        ):
            ended, transaction, room, calls = self.delete(prepare_delete_room=vote)
            failed = {"room_id": room, "reason": reason, "error_code": "DELETION_FAILED"}
            self.assertEqual(ended, {"type": "delete_room_failed", "data": {**failed, "transaction_id": transaction}})
            self.assertEqual(calls["rollback_delete_room"], (room, transaction))
            self.assertNotIn("commit_delete_room", calls)
            self.assertEqual(self.node.report()["rooms"][room]["state"], "ACTIVE")

    def test_a_vote_that_is_no_struct_leaves_the_room_stuck(self):
        ended, _, room, calls = self.delete(prepare_delete_room="READY")
        failed = {"room_id": room, "reason": "'str' object has no attribute 'get'", "error_code": "INTERNAL_ERROR"}
        self.assertEqual(ended, {"type": "delete_room_failed", "data": failed})
        self.assertNotIn("rollback_delete_room", calls)
        refused = self.alice.ask("delete_room", "delete_room_failed", room_id=room, username="alice")
        self.assertEqual(refused["error_code"], "INVALID_STATE")


class Trouble(ClusterTest):
    def test_a_dead_node_makes_every_deletion_fail_and_members_elsewhere_hear_of_the_rollback(self):
        nodes = self.cluster(3)
        alice, bob = self.client(nodes[0]), self.client(nodes[1])
        room = alice.create(creator="alice")
        alice.join(room, "alice")
        bob.join(room, "bob")
        alice.get("member_joined")
        nodes[2].kill()
        alice.say("delete_room", room_id=room, username="alice")
        transaction = alice.get("delete_room_initiated")["transaction_id"]
        alice.get("delete_room_initiated", initiator="alice")
        failed = alice.get("delete_room_failed", reason="Node node3 timed out", transaction_id=transaction)
        self.assertEqual(failed["error_code"], "DELETION_FAILED")
        bob.get("delete_room_cancelled", transaction_id=transaction)
        self.assertEqual(alice.send(room, "alice", "still here"), 1)
        bob.get("new_message", content="still here")

    def test_a_requester_who_hangs_up_at_once_leaves_the_room_stuck(self):
        node, other = self.cluster(2)
        alice, bob = self.client(node), self.client(node)
        room = alice.create(creator="alice")
        elsewhere = self.client(other).create()
        bob.join(elsewhere, "bob")
        # The node is busy with bob's message while alice says her last words.
        other.tell("hang forward_message 60")
        bob.say("send_message", room_id=elsewhere, username="bob", content="x")
        self.eventually(lambda: other.report()["received"].get("forward_message"), "bob's message arrives")
        alice.say("delete_room", room_id=room, username="alice")
        # The node takes leave of her: her connection waits for nothing.
        alice.close()
        other.tell("calm")
        bob.get("new_message")
        bob.get("message_sent")
        self.eventually(lambda: node.report()["rooms"][room]["state"] == "DELETION_PENDING", "the room is stuck")
        refused = bob.ask("delete_room", "delete_room_failed", room_id=room, username="alice")
        self.assertEqual(refused["reason"], "Room is in DELETION_PENDING state, cannot delete")


if __name__ == "__main__":
    unittest.main()
