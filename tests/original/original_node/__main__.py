"""Runs one node: `python3 -m original_node`, configured by environment variables; see README.md."""

import argparse
import logging
import os
import signal
import sys
import threading

try:
    import websockets.sync.server  # noqa: F401
except ImportError:
    sys.exit("The Python library websockets (15 or newer) is missing; tests/original/README.md says how to install it.")

from . import config
from .control import Control, say
from .mischief import Mischief
from .node import Node
from .rpc_server import RpcServer
from .watch import Watch
from .websocket_side import WebSocketSide


def main() -> None:
    options = parse_options()
    # Blocked before any thread is there, in all of them, and taken in one place.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # Quiet by default: a test that asks for trouble need not read about it.
    logging.basicConfig(level=logging.INFO if options.verbose else logging.CRITICAL, stream=sys.stderr)
    settings = config.from_environment()
    node = Node(settings, options.patience)
    for kind, words in options.mischief:
        node.mischief.set(kind, words)

    rpc = RpcServer(node, settings.xmlrpc_host, settings.xmlrpc_port)
    if node.address is None:
        node.address = f"http://{node.node_id}:{rpc.port}"
    rpc.start()
    clients = WebSocketSide(node, settings.websocket_host, settings.websocket_port)
    watch = Watch(node, options.heartbeat_seconds, options.cleanup_seconds, options.inactivity_seconds)
    watch.start()
    say({"ready": True, "node_id": node.node_id, "websocket_port": clients.port, "xmlrpc_port": rpc.port})
    # Not before: an input that has ended already ends the process.
    if options.control:
        Control(node, rpc, watch).start()

    threading.Thread(target=clients.serve_forever, name="websocket", daemon=True).start()
    signal.sigwait({signal.SIGINT})
    # Clients are closed with 1001, unless one of them waits for a node that does not answer.
    closing = threading.Thread(target=clients.close, daemon=True)
    closing.start()
    closing.join(2 * options.patience)
    os._exit(0)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="original_node", description=__doc__)
    parser.add_argument("--control", action="store_true", help="obey lines on standard input, and end with it")
    parser.add_argument("--verbose", action="store_true", help="tell standard error of each call and each failure")
    parser.add_argument("--heartbeat-seconds", type=float, default=30, metavar="N", help="default %(default)s")
    parser.add_argument("--cleanup-seconds", type=float, default=60, metavar="N", help="default %(default)s")
    parser.add_argument("--inactivity-seconds", type=float, default=900, metavar="N", help="default %(default)s")
    parser.add_argument("--patience", type=float, default=1, metavar="N", help="limits of calls times N, default 1")
    for kind, (unit, _) in Mischief.PER_METHOD.items():
        parser.add_argument(f"--{kind}", action="append", default=[], metavar=f"METHOD[={unit.upper()}]")
    for kind, (unit, _) in Mischief.PLAIN.items():
        parser.add_argument(f"--{kind}", metavar=unit.upper())
    options = parser.parse_args()
    given = vars(options)
    options.mischief = [
        (kind, text.split("=", 1)) for kind in Mischief.PER_METHOD for text in given[kind.replace("-", "_")]
    ]
    plain = {kind: given[kind.replace("-", "_")] for kind in Mischief.PLAIN}
    options.mischief += [(kind, [text]) for kind, text in plain.items() if text is not None]
    return options


main()
