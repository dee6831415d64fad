"""Calls to other nodes: blocking, one TCP connection each, no time limit of their own."""

import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from xmlrpc.client import ServerProxy

from .mischief import Mischief

# Seconds.
DISCOVERY_TIMEOUT = 3

log = logging.getLogger("original.rpc_client")


class Peers:
    """The other nodes: static, except that a test may set them once their ports are known."""

    def __init__(self, own_id: str, addresses: dict[str, str], mischief: Mischief):
        self.own_id = own_id
        self.addresses = dict(addresses)
        self._mischief = mischief
        self.discovery_seconds = DISCOVERY_TIMEOUT
        self._lock = threading.Lock()
        # method -> {"ok": how many were answered, "failed": how many were not}
        self.made: dict[str, dict[str, int]] = {}

    def call(self, address: str, method: str, *params):
        """Raises if it cannot be made, is not answered, or is answered by a fault.

        The library itself repeats a call once if the connection is closed before the answer.
        """
        try:
            if self._mischief.strikes("repeat", method):
                self._call(address, method, params)
            result = self._call(address, method, params)
        except Exception as error:
            log.info("%s at %s: %s", method, address, error)
            self._count(method, "failed")
            raise
        self._count(method, "ok")
        return result

    @staticmethod
    def _call(address: str, method: str, params):
        with ServerProxy(address, allow_none=True) as proxy:
            return getattr(proxy, method)(*params)

    def _count(self, method: str, outcome: str) -> None:
        with self._lock:
            self.made.setdefault(method, {"ok": 0, "failed": 0})[outcome] += 1

    def tell_all(self, method: str, *params, skip: str | None = None) -> None:
        """Tells every peer, one after the other, whether or not it has anybody in the room. What fails is lost."""
        self._mischief.wait("late-events")
        for node_id, address in list(self.addresses.items()):
            if node_id == skip:
                continue
            try:
                self.call(address, method, *params)
            except Exception as error:
                log.info("%s was not told: %s", node_id, error)

    def _hosted_rooms(self, address: str) -> list[dict]:
        # The limit is that of the whole process. It is put back as it was found, and as several of these run at the same
        # time, one may find that of another and leave it behind for ever.
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(self.discovery_seconds)
        try:
            return self.call(address, "get_hosted_rooms")
        finally:
            socket.setdefaulttimeout(before)

    def discover(self, own_rooms: list[dict]) -> dict:
        """Asks all peers at the same time and waits for all of them."""
        rooms, queried, available, unavailable = list(own_rooms), [self.own_id], [self.own_id], []
        addresses = dict(self.addresses)
        with ThreadPoolExecutor(max_workers=max(1, len(addresses))) as pool:
            asked = {pool.submit(self._hosted_rooms, address): node_id for node_id, address in addresses.items()}
            for answer in as_completed(asked):
                queried.append(asked[answer])
                try:
                    rooms.extend(answer.result())
                except Exception:
                    unavailable.append(asked[answer])
                else:
                    available.append(asked[answer])
        return {
            "rooms": rooms,
            "total_count": len(rooms),
            "nodes_queried": queried,
            "nodes_available": available,
            "nodes_unavailable": unavailable,
        }

    def find_room(self, room_id) -> dict | None:
        """Looks for a room on all peers. Nothing is remembered: this happens before every call about a remote room."""
        for entry in self.discover([])["rooms"]:
            if entry.get("room_id") == room_id:
                return entry
        return None

    def address_of(self, entry: dict) -> str | None:
        """Where the admin node of a found room is: as its own answer says, else as configured."""
        return entry.get("node_address") or self.addresses.get(entry.get("admin_node"))
