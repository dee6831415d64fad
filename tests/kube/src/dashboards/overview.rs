//! *Chat overview*: is the cluster well, and which node is not.

use super::{Dashboard, Panel, Row};

/// The overview.
#[must_use]
pub fn overview() -> Dashboard {
    Dashboard {
        uid: "chat-overview",
        title: "Chat overview",
        description: "Whether clients are served as promised, and which node to look at if they are not.",
        beside: ("chat-node", "Chat node"),
        rows: vec![objectives(), clients(), cluster(), versions()],
    }
}

fn objectives() -> Row {
    Row {
        title: "Objectives",
        panels: vec![
            Panel::number(
                "Nodes that answer",
                "none",
                "Nodes that Prometheus reaches. Fewer than replicas: one is down, or not found.",
            )
            .query("count(chat_build_info{SEL})", "nodes"),
            Panel::number(
                "Links that work",
                "percentunit",
                "Ordered pairs of nodes in which one takes the other for healthy, of all pairs. Below 100 %: see the matrix below.",
            )
            .query(
                "sum(chat_peers{SEL,state=\"healthy\"}) / sum(chat_peers{SEL})",
                "healthy",
            ),
            Panel::number(
                "Canary messages that come back",
                "percentunit",
                "Of the messages that nodes send themselves and each other through the whole path, those that came back in time.",
            )
            .query(
                "sum(rate(chat_canary_messages_total{SEL,result=\"ok\"}[$__rate_interval])) / sum(rate(chat_canary_messages_total{SEL}[$__rate_interval]))",
                "ok",
            ),
            Panel::number(
                "Acknowledged within (p99)",
                "s",
                "From a message of a client to its acknowledgement, 99 of 100, wherever its room is.",
            )
            .query(
                "histogram_quantile(0.99, sum by (le) (rate(chat_acknowledgement_seconds_bucket{SEL}[$__rate_interval])))",
                "p99",
            ),
            Panel::number(
                "Messages per second",
                "cps",
                "Messages of clients that were committed.",
            )
            .query("sum(rate(chat_messages_accepted_total{SEL}[$__rate_interval]))", "messages"),
            Panel::number(
                "Missing here now",
                "none",
                "Messages that rooms have and that some node has not delivered to its own sessions yet. It falls back to 0 within a second.",
            )
            .query("sum(chat_follower_lag_messages{SEL})", "messages"),
        ],
    }
}

fn clients() -> Row {
    Row {
        title: "Clients",
        panels: vec![
            Panel::lines(
                "Messages",
                "cps",
                "Committed for clients of each node. A node that falls to 0 while others go on has lost its clients, or its rooms.",
            )
            .query("sum by (node) (rate(chat_messages_accepted_total{SEL}[$__rate_interval]))", "{{node}}"),
            Panel::lines(
                "Deliveries",
                "cps",
                "Messages handed to sessions, one per session.",
            )
            .query("sum by (node) (rate(chat_messages_delivered_total{SEL}[$__rate_interval]))", "{{node}}"),
            Panel::lines(
                "Time to the acknowledgement",
                "s",
                "By where the room is. Only remote slow: links, see Chat node. Both slow: the store.",
            )
            .quantiles("chat_acknowledgement_seconds", "room", ["p50 {{room}}", "p99 {{room}}"]),
            Panel::lines(
                "Time to delivery",
                "s",
                "From the moment at which the room's node took a message until it was on its way to the sessions of a node. Between machines it is as good as their clocks agree.",
            )
            .quantiles("chat_delivery_seconds", "room", ["p50 {{room}}", "p99 {{room}}"]),
            Panel::lines("Connections", "none", "Open connections of clients.")
                .query("sum by (node) (chat_connections{SEL})", "{{node}}"),
            Panel::lines(
                "Refused requests",
                "cps",
                "By code. ADMIN_NODE_UNAVAILABLE: the node of a room does not answer. Others are mistakes of clients.",
            )
            .query(
                "sum by (code) (rate(chat_requests_refused_total{SEL}[$__rate_interval])) > 0",
                "{{code}}",
            )
            .may_be_empty(),
        ],
    }
}

fn cluster() -> Row {
    Row {
        title: "Cluster",
        panels: vec![
            Panel::health(
                "Who takes whom for healthy",
                "One bar for each ordered pair of nodes. All bars towards a node red: it is down. All bars from a node red: it is cut off. One pair in both directions: the way between these two.",
            )
            .query("max by (node, peer) (chat_peer_health{SEL})", "{{node}} → {{peer}}"),
            Panel::lines(
                "Canary, there and back (p99)",
                "s",
                "By ordered pair. One node slow as a target: its store or its CPU. One node slow as a source: its own sockets or links.",
            )
            .query(
                "histogram_quantile(0.99, sum by (le, node, to) (rate(chat_canary_seconds_bucket{SEL}[$__rate_interval])))",
                "{{node}} → {{to}}",
            )
            .wide(12),
            Panel::lines(
                "Canary messages that did not come back",
                "cps",
                "By ordered pair: error if they were refused or their connection broke, late if nothing came in time.",
            )
            .query(
                "sum by (node, to, result) (rate(chat_canary_messages_total{SEL,result!=\"ok\"}[$__rate_interval]))",
                "{{node}} → {{to}} {{result}}",
            )
            .wide(12),
        ],
    }
}

fn versions() -> Row {
    Row {
        title: "Nodes",
        panels: vec![
            Panel::lines(
                "Versions",
                "none",
                "Nodes of each version. Two versions for longer than an upgrade takes: it stands still.",
            )
            .query("count by (version) (chat_build_info{SEL})", "{{version}}"),
            Panel::lines("Rooms", "none", "Rooms that each node administers.")
                .query("sum by (node) (chat_rooms_owned{SEL})", "{{node}}"),
            Panel::lines(
                "Started",
                "s",
                "How long ago each process was started. A saw: it does not stay up.",
            )
            .query("time() - max by (node) (process_start_time_seconds{SEL})", "{{node}}"),
        ],
    }
}
