"""Lines on standard input by which a test changes a running node. Each is answered by one line of JSON."""

import json
import os
import sys
import threading

from .mischief import Mischief
from .node import Node
from .rpc_server import RpcServer
from .watch import Watch


def say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


class Control:
    def __init__(self, node: Node, rpc: RpcServer, watch: Watch):
        self._node = node
        self._rpc = rpc
        self._watch = watch

    def start(self) -> None:
        """Reads until the input ends; then the process ends, too, so that it does not outlive its test."""
        threading.Thread(target=self._read, name="control", daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            words = line.split()
            if not words:
                continue
            try:
                say(self.obey(words[0], words[1:]))
            except Exception as error:
                say({"error": f"{line.strip()}: {error}"})
        os._exit(0)

    def obey(self, verb: str, words: list[str]) -> dict:
        if verb == "peers":
            pairs = [word.partition("=") for word in words]
            if not all(node_id and address for node_id, _, address in pairs):
                raise ValueError("peers wants ID=URL …")
            self._node.peers.addresses = {node_id: address for node_id, _, address in pairs}
        elif verb == "address":
            self._node.address = words[0] if words else ""
        elif verb == "inactivity":
            self._watch.inactivity = float(words[0])
        elif verb == "calm":
            self._node.mischief.calm()
        elif verb == "report":
            return self._report()
        elif verb in Mischief.PER_METHOD or verb in Mischief.PLAIN:
            self._node.mischief.set(verb, words)
        else:
            raise ValueError("no such order")
        return {"done": verb}

    def _report(self) -> dict:
        return {
            "received": dict(self._rpc.received),
            "made": {method: dict(counts) for method, counts in list(self._node.peers.made.items())},
            "health": {node_id: health.status for node_id, health in list(self._watch.health.items())},
            "rooms": {
                room.room_id: {
                    "state": room.state,
                    "members": {name: member.node_id for name, member in list(room.members.items())},
                }
                for room in self._node.rooms.all()
            },
        }
