// SPDX-License-Identifier: Apache-2.0
//! Whether an address is one of this machine. Imports nothing of this crate.

use std::net::{IpAddr, UdpSocket};

/// A socket can only be bound to an address of its own machine.
pub fn is_here(address: IpAddr) -> bool {
    !address.is_unspecified() && UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_here_and_the_documentation_is_not() {
        assert!(is_here("127.0.0.1".parse().unwrap()) && is_here("127.3.2.1".parse().unwrap()));
        assert!(!is_here("203.0.113.1".parse().unwrap()) && !is_here("0.0.0.0".parse().unwrap()));
    }
}
