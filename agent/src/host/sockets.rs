//! What is known of a TCP socket.

use std::net::IpAddr;

/// States with the numbers of `include/net/tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "RFC 9293 says what they mean")]
pub enum TcpState {
    Established = 1,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    /// Half open, since 4.4; told apart from [`TcpState::SynReceived`] by the kernel only.
    NewSynReceived,
}

impl TcpState {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Established,
        Self::SynSent,
        Self::SynReceived,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynReceived,
    ];

    /// The state with this number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// Its bit in a mask of states.
    pub const fn mask(self) -> u32 {
        1 << self as u32
    }

    /// As labels have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynReceived | Self::NewSynReceived => "syn_received",
            Self::FinWait1 => "fin_wait1",
            Self::FinWait2 => "fin_wait2",
            Self::TimeWait => "time_wait",
            Self::Close => "close",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        }
    }
}

/// One TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// State.
    pub state: TcpState,
    /// Own address.
    pub address: IpAddr,
    /// Own port.
    pub port: u16,
    /// Bytes received and not read; of a listening socket, connections that wait to be accepted.
    pub queued: u32,
    /// Bytes sent and not acknowledged; of a listening socket, connections that may wait.
    pub queue_max: u32,
    /// Inode; 0 where no process holds it.
    pub inode: u32,
}
