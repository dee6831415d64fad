"""Configuration by environment variables, read the way the original reads them."""

import os
from dataclasses import dataclass


@dataclass
class Config:
    node_id: str
    websocket_host: str
    websocket_port: int
    xmlrpc_host: str
    xmlrpc_port: int
    # What peers are told as `node_address`. Empty: they use their own entry for this node. None: made from id and port,
    # once the port is known.
    xmlrpc_address: str | None
    peers: dict[str, str]


def from_environment(env=os.environ) -> Config:
    """A variable that is set but empty counts as empty; a port that is no number is an error."""
    return Config(
        node_id=env.get("NODE_ID", "node1"),
        websocket_host=env.get("WEBSOCKET_HOST", "0.0.0.0"),
        websocket_port=int(env.get("WEBSOCKET_PORT", "8080")),
        xmlrpc_host=env.get("XMLRPC_HOST", "0.0.0.0"),
        xmlrpc_port=int(env.get("XMLRPC_PORT", "9090")),
        xmlrpc_address=env.get("XMLRPC_ADDRESS"),
        peers=parse_peers(env.get("PEER_NODES", "")),
    )


def parse_peers(text: str) -> dict[str, str]:
    """`id:http://host:port` (trimmed) or `id:host:port` (as it stands), separated by commas; the last of an id wins.

    Other spellings are misread in the way of the original: `https://` and bare IPv6 addresses make no usable address.
    """
    peers = {}
    for entry in text.split(","):
        node_id, colon, address = entry.partition(":")
        if not colon:
            continue
        if address.strip().startswith("http://"):
            peers[node_id.strip()] = address.strip()
            continue
        parts = address.split(":")
        peers[node_id] = f"http://{parts[0]}:{parts[1]}" if len(parts) > 1 else address
    return peers
