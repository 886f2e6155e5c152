//! Addresses that remain reserved while the program that listens on them is restarted.
//!
//! After a listener is closed, the system may assign its port to any other socket, and the restarted program could not bind it
//! again. A second socket that is bound to the port and never listens prevents that: Linux does not assign such a port
//! automatically, allows a listener on it if both sockets allow reuse, and refuses connections while there is none.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A loopback address that is reserved until this is dropped.
#[derive(Debug)]
pub struct ReservedAddress {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl ReservedAddress {
    /// Any free port.
    ///
    /// # Errors
    /// If there is none.
    pub fn any() -> io::Result<ReservedAddress> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(ReservedAddress { address: socket.local_addr()?, _socket: socket })
    }

    /// The address. A listener with address reuse (those of `tokio` and `std` have it) can bind it any number of times.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_reserved_address_can_be_bound_repeatedly_and_by_no_other_socket() {
        let reserved = ReservedAddress::any().unwrap();
        let other = || TcpSocket::new_v4().unwrap().bind(reserved.address()).unwrap_err().kind();
        assert_eq!(other(), ErrorKind::AddrInUse);
        for _ in 0..2 {
            let listener = TcpListener::bind(reserved.address()).await.unwrap();
            let (client, server) = tokio::join!(TcpStream::connect(reserved.address()), listener.accept());
            drop(listener);
            let refused = TcpStream::connect(reserved.address()).await.unwrap_err();
            assert_eq!((refused.kind(), other()), (ErrorKind::ConnectionRefused, ErrorKind::AddrInUse));
            let (_client, _server) = (client.unwrap(), server.unwrap());
        }
        drop(reserved);
    }
}
