//! Nobody speaks for another node: what a call says of its caller must be who signed it.

use super::gate::Who;
use crate::peers::Peers;
use chat_protocol::ids::{Incarnation, NodeId};
use chat_protocol::original_call::method as original;
use chat_protocol::peer_auth::Refusal;
use chat_protocol::peer_call::method;
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

/// Checks that `who` may make a call, as far as its parameters say. An exchange is checked where it is read.
pub(in crate::peers) fn check(peers: &Peers, who: &Who, call: &Call) -> Result<(), Refusal> {
    let text = match named(call) {
        Some(Value::String(text)) => Some(text.as_str()),
        // What is no text is refused by the method itself.
        _ => None,
    };
    match who {
        Who::Anyone => Ok(()),
        Who::Node(node, _) => match text {
            Some(text) if text != node.as_str() => Err(Refusal::OtherIdentity),
            _ => Ok(()),
        },
        Who::Exempt if !is_classic(&call.method) => Err(Refusal::NotExempt),
        Who::Exempt => match text {
            Some(text) => {
                // It may call itself otherwise than it is configured here.
                let id = NodeId::parse(text).ok().and_then(|id| peers.configured(&id));
                if id.is_some_and(|id| peers.is_exempt(&id)) {
                    Ok(())
                } else {
                    Err(Refusal::OtherIdentity)
                }
            }
            None => Ok(()),
        },
    }
}

/// Whose items an exchange says that it carries.
pub(in crate::peers) fn claimed(params: &[Value]) -> Option<(NodeId, Incarnation)> {
    chat_protocol::peer_call::Exchange::sender_of(params)
}

/// Checks that the items of an exchange are from whoever signed it.
pub(in crate::peers) fn is_sender(who: &Who, sender: &NodeId, life: Incarnation) -> bool {
    match who {
        Who::Anyone => true,
        Who::Exempt => false,
        Who::Node(node, signed) => node == sender && *signed == life,
    }
}
