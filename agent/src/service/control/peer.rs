//! Who is on the other side of the socket, as the kernel says.

use std::os::fd::AsRawFd;

use tokio::net::UnixStream;

/// Most groups of one process (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// A name for who asks, if that is root, the agent's own user, or a member of its group; else a sentence.
pub(super) fn admitted(stream: &UnixStream) -> Result<String, String> {
    let peer = stream.peer_cred().map_err(|error| format!("the kernel does not say who asks: {error}"))?;
    let (own_user, own_group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let may = peer.uid() == 0
        || peer.uid() == own_user
        || peer.gid() == own_group
        || groups(stream).contains(&own_group);
    if !may {
        return Err("only root and members of the agent's group may ask".to_owned());
    }
    Ok(if peer.uid() == 0 { "root".to_owned() } else { format!("uid {}", peer.uid()) })
}

/// The other side's further groups; none where the kernel (before 4.13) does not tell them.
fn groups(stream: &UnixStream) -> Vec<u32> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `bytes` bytes into `groups`, which has room for them, and says in `bytes`
        // how many it has or needs.
        let done = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let wanted = bytes as usize / size_of::<u32>();
        if done == 0 {
            groups.truncate(wanted);
            return groups;
        }
        // ERANGE: more than there is room for.
        if wanted <= groups.len() || wanted > MAX_GROUPS {
            return Vec::new();
        }
        groups.resize(wanted, 0);
    }
}
