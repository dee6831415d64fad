"""What a test can make go wrong, and that it goes right again."""

import http.client
import threading
import unittest
from xmlrpc.client import Fault

from cluster import ClusterTest


class Callee(ClusterTest):
    def setUp(self):
        self.node = self.stand_in("node1")
        self.ines = self.client(self.node)
        self.room = self.ines.create()
        self.ines.join(self.room, "ines")

    def forward(self):
        return self.node.call("forward_message", self.room, "ines", "x", "node2")

    def test_a_fault(self):
        self.node.tell("fault forward_message 1")
        with self.assertRaises(Fault):
            self.forward()
        self.assertEqual(self.forward()["sequence_number"], 1)

    def test_a_caller_repeats_a_call_whose_connection_was_dropped(self):
        self.node.tell("drop forward_message")
        self.assertEqual(self.forward()["sequence_number"], 1)
        self.node.tell("drop-after forward_message")
        self.assertEqual(self.forward()["sequence_number"], 3)
        self.assertEqual(self.node.report()["received"]["forward_message"], 4)
        self.node.tell("drop forward_message 2")
        with self.assertRaises(http.client.RemoteDisconnected):
            self.forward()
        for number in (1, 2, 3):
            self.ines.get("new_message", sequence_number=number)

    def test_a_hanging_call_is_not_done_and_keeps_all_others_waiting(self):
        self.node.tell("hang forward_message 60")
        forwarded, alive = [], []
        waiting = threading.Thread(target=lambda: forwarded.append(self.forward()))
        waiting.start()
        self.eventually(lambda: self.node.report()["received"].get("forward_message"), "the call arrives")
        self.ines.is_quiet()
        other = threading.Thread(target=lambda: alive.append(self.node.call("heartbeat")))
        other.start()
        self.assertEqual((forwarded, alive), ([], []))
        self.assertNotIn("heartbeat", self.node.report()["received"])
        self.node.tell("calm")
        waiting.join(20)
        other.join(20)
        self.assertEqual((forwarded[0]["sequence_number"], alive[0]["status"]), (1, "ok"))
        self.ines.get("new_message", sequence_number=1)

    def test_a_slow_call_is_done_at_once_and_answered_late(self):
        self.node.tell("slow * 60")
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(self.forward()))
        waiting.start()
        self.ines.get("new_message", sequence_number=1)
        self.assertEqual(answers, [])
        self.node.tell("calm")
        waiting.join(20)
        self.assertEqual(answers[0]["sequence_number"], 1)

    def test_orders_that_make_no_sense_are_refused(self):
        for line in ("dance", "hang", "hang heartbeat", "hang heartbeat soon", "late-events", "peers node2"):
            with self.assertRaises(AssertionError):
                self.node.tell(line)
        self.assertEqual(self.node.call("heartbeat")["status"], "ok")


class Caller(ClusterTest):
    def test_a_repeated_call_is_made_twice(self):
        nodes = self.cluster(2)
        ines, otto = self.client(nodes[0]), self.client(nodes[1])
        room = ines.create()
        otto.join(room, "otto")
        nodes[1].tell("repeat forward_message 1")
        otto.say("send_message", room_id=room, username="otto", content="twice")
        otto.get("new_message", sequence_number=1)
        otto.get("new_message", sequence_number=2)
        otto.get("message_sent", sequence_number=2)
        self.assertEqual(otto.send(room, "otto", "once"), 3)

    def test_late_events_let_a_joiner_overtake_a_message(self):
        first, second = self.cluster(2)
        ines, otto = self.client(first), self.client(second)
        room = ines.create()
        ines.join(room, "ines")
        first.tell("late-events 60000")
        ines.say("send_message", room_id=room, username="ines", content="late")
        ines.get("new_message", sequence_number=1)
        # Its clients wait with it; calls of other nodes do not, unless they have events, too.
        joined = threading.Thread(target=lambda: otto.join(room, "otto", history=1))
        joined.start()
        ines.get("member_joined", username="otto")
        first.tell("calm")
        joined.join(20)
        ines.get("message_sent")

    def test_a_join_window_loses_what_is_said_meanwhile(self):
        first, second = self.cluster(2, "--join-window", "60000")
        ines, otto = self.client(first), self.client(second)
        room = ines.create()
        ines.join(room, "ines")
        otto.say("join_room", room_id=room, username="otto")
        ines.get("member_joined", username="otto")
        self.eventually(lambda: second.report()["made"].get("join_room"), "the join is answered")
        ines.send(room, "ines", "lost")
        second.tell("calm")
        otto.get("join_room_success")
        otto.is_quiet()
        ines.send(room, "ines", "heard")
        otto.get("new_message", sequence_number=2)

    def test_two_nodes_that_call_each_other_at_the_same_time_may_wait_for_ever(self):
        first, second = self.cluster(2)
        speakers = []
        for node, other in ((first, second), (second, first)):
            speaker, name = self.client(other), f"guest of {node.node_id}"
            room = self.client(node).create()
            speaker.join(room, name)
            speakers.append((speaker, room, name))
        for node in (first, second):
            node.tell("late-events 60000")
        for speaker, room, name in speakers:
            speaker.say("send_message", room_id=room, username=name, content="x")
        for node in (first, second):
            self.eventually(lambda: node.report()["received"].get("forward_message"), "it arrives")
        for node in (first, second):
            node.tell("calm")
        # Each serves the other and, before it answers, calls the other, which serves nobody else meanwhile.
        for speaker, *_ in speakers:
            with self.assertRaises(TimeoutError):
                speaker.socket.recv(timeout=2)


if __name__ == "__main__":
    unittest.main()
