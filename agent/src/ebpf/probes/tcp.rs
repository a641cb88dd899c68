//! `tcp:tcp_retransmit_skb`, `tcp:tcp_send_reset`, `tcp:tcp_receive_reset`.

use agent_common::names;

use super::{Hook, Mode, Probe, Shape, argument, member, needs, nothing, takes};

/// An address of 16 bytes; IPv4 ones are mapped into it.
const ADDRESS: Shape = Shape::Letters(16);

pub(super) const PROBE: Probe = Probe {
    name: "tcp",
    key: "tcp",
    hooks: &[
        Hook {
            programs: names::TCP_RETRANSMIT,
            category: "tcp",
            event: "tcp_retransmit_skb",
            fields: &[needs("daddr_v6", "RETRANSMIT_REMOTE", ADDRESS)],
            arguments: &[argument("*sock", "RETRANSMIT_SOCK_ARG")],
        },
        Hook {
            programs: names::TCP_RESET_IN,
            category: "tcp",
            event: "tcp_receive_reset",
            fields: &[needs("daddr_v6", "RESET_IN_REMOTE", ADDRESS)],
            arguments: &[argument("*sock", "RESET_IN_SOCK_ARG")],
        },
        Hook {
            programs: names::TCP_RESET_OUT,
            category: "tcp",
            event: "tcp_send_reset",
            // A `struct sockaddr_in6` from 6.10 on.
            fields: &[
                takes("daddr_v6", "RESET_OUT_REMOTE", ADDRESS),
                takes("daddr", "RESET_OUT_ADDRESS", Shape::Letters(28)),
            ],
            arguments: &[
                argument("*sock", "RESET_OUT_SOCK_ARG"),
                argument("*sk_buff", "RESET_OUT_PACKET_ARG"),
            ],
        },
    ],
    members: &[
        member(&["sock.__sk_common.skc_family"], "SOCK_FAMILY", Shape::Number(2)),
        member(&["sock.__sk_common.skc_daddr"], "SOCK_V4", Shape::Number(4)),
        member(&["sock.__sk_common.skc_v6_daddr.in6_u.u6_addr8"], "SOCK_V6", ADDRESS),
        member(&["sk_buff.head"], "PACKET_HEAD", Shape::Number(8)),
        member(&["sk_buff.network_header"], "PACKET_NETWORK", Shape::Number(2)),
    ],
    enough: &[&["RETRANSMIT_SOCK_ARG", "RESET_IN_SOCK_ARG", "RESET_OUT_SOCK_ARG", "SOCK_FAMILY", "SOCK_V4"]],
    prefers: Mode::Classic,
    maps: &[names::REMOTES, names::REMOTE_TOTALS],
    rare: true,
    fallback: "TCP retransmits and resets are not counted",
    wanted: |options| options.tcp,
    lacks: nothing,
};
