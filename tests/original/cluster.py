"""For the tests: stand-ins as processes, clients that check every frame, and single calls."""

import json
import os
import socket
import subprocess
import sys
import time
import unittest
from contextlib import ExitStack
from pathlib import Path
from xmlrpc.client import ServerProxy

from websockets.sync.client import connect

from shapes import check

# Longest wait for anything. Reaching it is a failure, so it is generous.
PATIENCE = 20


def reserve():
    """A port that the system hands out to nobody else until this is closed, whether a node listens there or is dead."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


class StandIn:
    def __init__(self, node_id, *options):
        self.node_id = node_id
        self._ports = [reserve(), reserve()]
        self.websocket_port, self.xmlrpc_port = (held.getsockname()[1] for held in self._ports)
        self.url = f"ws://127.0.0.1:{self.websocket_port}"
        self.rpc_url = f"http://127.0.0.1:{self.xmlrpc_port}"
        # The limits of the original are too short for a machine that does much else.
        self._command = [sys.executable, "-B", "-m", "original_node", "--control", "--patience", "10", *options]
        self._environment = dict(
            os.environ,
            NODE_ID=node_id,
            WEBSOCKET_HOST="127.0.0.1",
            WEBSOCKET_PORT=str(self.websocket_port),
            XMLRPC_HOST="127.0.0.1",
            XMLRPC_PORT=str(self.xmlrpc_port),
        )
        self.launch()

    def launch(self):
        self.process = subprocess.Popen(
            self._command,
            cwd=Path(__file__).parent,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self):
        ready = json.loads(self.process.stdout.readline())
        ports = {"websocket_port": self.websocket_port, "xmlrpc_port": self.xmlrpc_port}
        assert ready == {"ready": True, "node_id": self.node_id, **ports}, ready
        return self

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        return answer

    def report(self):
        return self.tell("report")

    def know(self, others):
        self.tell(f"address {self.rpc_url}")
        self.tell("peers " + " ".join(f"{other.node_id}={other.rpc_url}" for other in others if other is not self))

    def call(self, method, *params):
        with ServerProxy(self.rpc_url, allow_none=True) as proxy:
            return getattr(proxy, method)(*params)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def close(self):
        self.kill()
        for held in self._ports:
            held.close()


class Client:
    def __init__(self, node, path="/", **options):
        self._open = ExitStack()
        self.socket = self._open.enter_context(connect(node.url + path, **options))

    def say(self, kind, **data):
        self.raw(json.dumps({"type": kind, "data": data}))

    def raw(self, text):
        self.socket.send(text)

    def next(self):
        """The next frame, of a shape that the protocol knows."""
        frame = json.loads(self.socket.recv(timeout=PATIENCE))
        check(frame)
        return frame

    def get(self, kind, **wanted):
        """The data of the next frame, which is of this type and has these values."""
        frame = self.next()
        assert frame["type"] == kind, f"expected {kind} {wanted}, got {frame}"
        for key, value in wanted.items():
            assert frame["data"].get(key) == value, f"expected {kind} {wanted}, got {frame}"
        return frame["data"]

    def ask(self, request, answer, **data):
        self.say(request, **data)
        return self.get(answer)

    def create(self, name="hall", creator="ines", description=None):
        data = {"room_name": name, "creator_id": creator, "description": description}
        return self.ask("create_room", "room_created", **data)["room_id"]

    def join(self, room, username, history=0):
        """Joins and takes so many messages of the history; gives the answer and them."""
        self.say("join_room", room_id=room, username=username)
        joined = self.get("join_room_success", room_id=room)
        return joined, [self.get("new_message", room_id=room) for _ in range(history)]

    def send(self, room, username, content):
        """Sends, and takes the message and its confirmation, in that order."""
        self.say("send_message", room_id=room, username=username, content=content)
        shown = self.get("new_message", username=username, content=content)
        same = {key: shown[key] for key in ("room_id", "message_id", "sequence_number", "timestamp")}
        self.get("message_sent", **same)
        return shown["sequence_number"]

    def is_quiet(self):
        """Nothing came up to now: the next frame is the answer to a question."""
        self.ask("list_rooms", "rooms_list")

    def close(self):
        self._open.close()


class ClusterTest(unittest.TestCase):
    """Starts what a test asks for, and ends it."""

    def start(self, node_id, *options):
        node = StandIn(node_id, *options)
        self.addCleanup(node.close)
        return node

    def stand_in(self, node_id, *options):
        return self.start(node_id, *options).wait_until_ready()

    def cluster(self, count, *options):
        nodes = [self.start(f"node{n}", *options) for n in range(1, count + 1)]
        for node in nodes:
            node.wait_until_ready()
        for node in nodes:
            node.know(nodes)
        return nodes

    def client(self, node, path="/", **options):
        client = Client(node, path, **options)
        self.addCleanup(client.close)
        return client

    def eventually(self, condition, text):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, text)
            time.sleep(0.01)
