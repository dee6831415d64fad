//! Nobody speaks for another node: what a call says of its caller must be who signed it.

use super::gate::Who;
use chat_protocol::ids::{Incarnation, NodeId};
use chat_protocol::original_call::method as original;
use chat_protocol::peer_auth::Refusal;
use chat_protocol::peer_call::{Exchange, method};
use chat_protocol::peer_xml::Call;
use dxr::Value;

/// Where a method names its caller, if it does.
fn named(call: &Call) -> Option<&Value> {
    let place = match call.method.as_str() {
        original::JOIN_ROOM | original::LEAVE_ROOM | original::NOTIFY_MEMBER_DISCONNECT => 2,
        method::PREPARE_DELETE_ROOM => 2,
        original::FORWARD_MESSAGE => 3,
        _ => return None,
    };
    call.params.get(place)
}

/// True for the eleven methods of the original.
fn is_classic(name: &str) -> bool {
    original::ALL.contains(&name)
        || [
            method::HEARTBEAT,
            method::GET_HOSTED_ROOMS,
            method::PREPARE_DELETE_ROOM,
            method::COMMIT_DELETE_ROOM,
            method::ROLLBACK_DELETE_ROOM,
        ]
        .contains(&name)
}

/// Checks that `who` may make a call, as far as its parameters say; `exempt` says whether an id is one of those that need not
/// sign.
pub(in crate::peers) fn check(who: &Who, call: &Call, exempt: impl Fn(&NodeId) -> bool) -> Result<(), Refusal> {
    let text = match named(call) {
        Some(Value::String(text)) => Some(text.as_str()),
        // What is no text is refused by the method itself.
        _ => None,
    };
    match who {
        Who::Anyone => Ok(()),
        Who::Node(node, life) => match (text, claimed(call)) {
            (Some(text), _) if text != node.as_str() => Err(Refusal::OtherIdentity),
            (_, Some(sender)) if sender != (node.clone(), *life) => Err(Refusal::OtherIdentity),
            _ => Ok(()),
        },
        Who::Exempt if !is_classic(&call.method) => Err(Refusal::NotExempt),
        Who::Exempt => match text.map(NodeId::parse) {
            Some(id) if !id.as_ref().is_ok_and(exempt) => Err(Refusal::OtherIdentity),
            _ => Ok(()),
        },
    }
}

/// Whose items an exchange says that it carries.
fn claimed(call: &Call) -> Option<(NodeId, Incarnation)> {
    if call.method == method::EXCHANGE {
        Exchange::sender_of(&call.params)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, params: &[&str]) -> Call {
        Call {
            method: method.into(),
            params: params.iter().map(|text| Value::String((*text).into())).collect(),
        }
    }

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).unwrap()
    }

    #[test]
    fn whoever_signed_speaks_for_itself_alone_in_each_method_that_names_a_caller() {
        let who = Who::Node(node("node1"), Incarnation(7));
        for (method, own, other) in [
            ("join_room", vec!["r", "u", "node1"], vec!["r", "u", "node2"]),
            ("leave_room", vec!["r", "u", "node1"], vec!["r", "u", "node2"]),
            (
                "notify_member_disconnect",
                vec!["r", "u", "node1", "why"],
                vec!["r", "u", "node2", "why"],
            ),
            (
                "forward_message",
                vec!["r", "u", "x", "node1"],
                vec!["r", "u", "node1", "node2"],
            ),
            ("prepare_delete_room", vec!["r", "t", "node1"], vec!["r", "t", "node2"]),
            ("chat.exchange", vec!["node1", "7"], vec!["node2", "7"]),
            ("chat.exchange", vec!["node1", "7"], vec!["node1", "8"]),
        ] {
            assert_eq!(check(&who, &call(method, &own), |_| false), Ok(()), "{method}");
            assert_eq!(
                check(&who, &call(method, &other), |_| true),
                Err(Refusal::OtherIdentity),
                "{method}"
            );
            assert_eq!(
                check(&Who::Anyone, &call(method, &other), |_| false),
                Ok(()),
                "{method}"
            );
        }
    }

    #[test]
    fn whoever_need_not_sign_has_the_classic_methods_and_speaks_for_exempt_nodes_alone() {
        let exempt = |id: &NodeId| id.as_str() == "old";
        for (method, params, expected) in [
            ("heartbeat", &[][..], Ok(())),
            ("join_room", &["r", "u", "old"], Ok(())),
            ("join_room", &["r", "u", "node1"], Err(Refusal::OtherIdentity)),
            ("join_room", &["r", "u", ""], Err(Refusal::OtherIdentity)),
            ("commit_delete_room", &["r", "t"], Ok(())),
            ("chat.exchange", &["old", "7"], Err(Refusal::NotExempt)),
            ("system.listMethods", &[], Err(Refusal::NotExempt)),
            ("nonsense", &[], Err(Refusal::NotExempt)),
        ] {
            assert_eq!(
                check(&Who::Exempt, &call(method, params), exempt),
                expected,
                "{method} {params:?}"
            );
        }
    }
}
