"""How the environment is read, mistakes included."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

from original_node.config import from_environment, parse_peers


class Environment(unittest.TestCase):
    def test_peers(self):
        for text, peers in (
            ("", {}),
            (",,", {}),
            ("node2", {}),
            ("node2:http://h:9090", {"node2": "http://h:9090"}),
            (" node2 : http://h:9090 , node3:http://g:1 ", {"node2": "http://h:9090", "node3": "http://g:1"}),
            ("node2:h:9090", {"node2": "http://h:9090"}),
            (" n2:h:9090", {" n2": "http://h:9090"}),
            ("node2:h", {"node2": "h"}),
            ("node2:https://h:9090", {"node2": "http://https://h"}),
            ("node2:http://h:9090/RPC2", {"node2": "http://h:9090/RPC2"}),
            ("a:http://x:1,a:http://y:2", {"a": "http://y:2"}),
            ("n:http://[::1]:9", {"n": "http://[::1]:9"}),
            ("n:[::1]:9", {"n": "http://[:"}),
            ("node2=http://h:9090", {"node2=http": "http:////h:9090"}),
        ):
            self.assertEqual(parse_peers(text), peers, text)

    def test_the_rest(self):
        config = from_environment({})
        self.assertEqual((config.node_id, config.websocket_host, config.websocket_port), ("node1", "0.0.0.0", 8080))
        self.assertEqual((config.xmlrpc_host, config.xmlrpc_port, config.xmlrpc_address), ("0.0.0.0", 9090, None))
        self.assertEqual(from_environment({"XMLRPC_ADDRESS": ""}).xmlrpc_address, "")
        with self.assertRaises(ValueError):
            from_environment({"WEBSOCKET_PORT": ""})

    def test_a_port_of_0_is_one_that_is_free_and_the_process_ends_with_its_input(self):
        env = dict(os.environ, NODE_ID="x", WEBSOCKET_PORT="0", XMLRPC_PORT="0")
        command = [sys.executable, "-B", "-m", "original_node", "--control"]
        ended = subprocess.run(command, cwd=Path(__file__).parent, env=env, input="", capture_output=True, timeout=60)
        ready = json.loads(ended.stdout)
        self.assertEqual((ended.returncode, ready["ready"], ready["node_id"]), (0, True, "x"))
        self.assertTrue(ready["websocket_port"] and ready["xmlrpc_port"], ready)


if __name__ == "__main__":
    unittest.main()
