"""A stand-in for a node of the original chat system, for tests of nodes that must live in one cluster with it."""
