//! Addresses that stay ours while the program behind them is stopped and started again.
//!
//! The port of a listener that closes goes to the next socket on the machine that asks for any; the program that comes
//! back would not get it again. A second socket that is bound to it and never listens prevents that: Linux gives such a
//! port to nobody who asks for any, lets a listener beside it if both allow reuse, and refuses connections in between.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A loopback address that is ours until this is dropped.
#[derive(Debug)]
pub struct HeldAddress {
    address: SocketAddr,
    _holder: TcpSocket,
}

impl HeldAddress {
    /// Any free port.
    ///
    /// # Errors
    /// If there is none.
    pub fn any() -> io::Result<HeldAddress> {
        let holder = TcpSocket::new_v4()?;
        holder.set_reuseaddr(true)?;
        holder.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(HeldAddress { address: holder.local_addr()?, _holder: holder })
    }

    /// What a listener with address reuse (`tokio`'s and `std`'s have it) can bind, as often as it likes.
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
    async fn a_held_address_is_listened_on_again_and_given_to_nobody_in_between() {
        let held = HeldAddress::any().unwrap();
        let stranger = || TcpSocket::new_v4().unwrap().bind(held.address()).unwrap_err().kind();
        assert_eq!(stranger(), ErrorKind::AddrInUse);
        for _ in 0..2 {
            let listener = TcpListener::bind(held.address()).await.unwrap();
            let (client, server) = tokio::join!(TcpStream::connect(held.address()), listener.accept());
            drop(listener);
            let refused = TcpStream::connect(held.address()).await.unwrap_err();
            assert_eq!((refused.kind(), stranger()), (ErrorKind::ConnectionRefused, ErrorKind::AddrInUse));
            let (_client, _server) = (client.unwrap(), server.unwrap());
        }
        drop(held);
    }
}
