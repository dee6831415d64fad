//! Ports that stay a node's own while it is down.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// A port of the loopback address that the system hands out to nobody else, whether a node listens there or is down. Without
/// it, another test that asks for some port may get the one of a node that is about to come back.
///
/// A node can listen there all the same, because listeners of nodes share a port with whoever does not listen.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    /// A port that was free. It is kept until this is dropped.
    ///
    /// # Errors
    /// There is none.
    pub fn reserve() -> io::Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self {
            address: held.local_addr()?,
            _held: held,
        })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_node::Listeners;
    use chat_node::config::Config;
    use chat_protocol::ids::NodeId;

    #[tokio::test]
    async fn a_node_listens_at_its_port_again_and_again_and_nobody_else_gets_it() {
        let port = Port::reserve().unwrap();
        let mut config = Config::test(NodeId::parse("node1").unwrap());
        config.websocket.port = port.address().port();
        for _ in 0..3 {
            let listeners = Listeners::bind(&config).unwrap();
            assert_eq!(listeners.addresses().unwrap().websocket, port.address());
            drop(listeners);
            let thief = TcpSocket::new_v4().unwrap();
            assert_eq!(thief.bind(port.address()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            // Nobody is connected to a node that is down.
            assert!(tokio::net::TcpStream::connect(port.address()).await.is_err());
        }
    }
}
