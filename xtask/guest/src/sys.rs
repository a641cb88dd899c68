//! System calls that have no safe wrapper in rustix.

use std::fs::File;
use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `FIFREEZE` and `FITHAW` of `include/uapi/linux/fs.h`.
const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;

/// Stops or lets go on all writing to the file system `dir` lies on.
pub(crate) fn freeze(dir: &File, on: bool) -> io::Result<()> {
    let request = if on { FIFREEZE } else { FITHAW };
    // SAFETY: both requests take no pointer; the descriptor lives throughout the call.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), request as _, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An `ifreq` of this interface, and a socket to use it with.
fn request(name: &str) -> io::Result<(UdpSocket, libc::ifreq)> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()).take(libc::IFNAMSIZ - 1) {
        *to = from as libc::c_char;
    }
    Ok((socket, request))
}

/// Sets a network interface up, or down.
pub(crate) fn interface(name: &str, up: bool) -> io::Result<()> {
    let (socket, mut request) = request(name)?;
    request.ifr_ifru.ifru_flags = if up { libc::IFF_UP as libc::c_short } else { 0 };
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives an interface that is down another name.
pub(crate) fn rename(name: &str, to: &str) -> io::Result<()> {
    let (socket, mut request) = request(name)?;
    // SAFETY: the union is about to hold a name; all-zero bytes are a valid one.
    request.ifr_ifru.ifru_newname = unsafe { mem::zeroed() };
    // SAFETY: the union holds a name since the line above.
    let place = unsafe { &mut request.ifr_ifru.ifru_newname };
    for (into, from) in place.iter_mut().zip(to.bytes()).take(libc::IFNAMSIZ - 1) {
        *into = from as libc::c_char;
    }
    // SAFETY: SIOCSIFNAME reads one ifreq, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFNAME as _, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets this thread's memory come from one NUMA node only.
pub(crate) fn bind_memory(node: u64) -> io::Result<()> {
    let mask: [u64; 1] = [1 << node];
    // SAFETY: the call reads as many bits of the mask as it is told, 64.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_BIND, mask.as_ptr(), 64_u64) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives an interface Ethernet frames until its queue takes no more, `most` at most. They wait as long as the sockets live.
pub(crate) fn stuff(name: &str, most: u32) -> io::Result<Vec<OwnedFd>> {
    let (socket, mut request) = request(name)?;
    // SAFETY: SIOCGIFINDEX fills in one ifreq, which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX as _, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all-zero bytes are a valid sockaddr_ll; the union holds the index after SIOCGIFINDEX.
    let (mut to, index) = unsafe { (mem::zeroed::<libc::sockaddr_ll>(), request.ifr_ifru.ifru_ifindex) };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index;
    // To everybody, from nobody, an EtherType for experiments.
    let mut frame = [0; 1514];
    frame[..6].fill(0xff);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    let (mut sockets, mut sent) = (Vec::new(), 0);
    // A socket has room for about a hundred frames on their way.
    for _ in 0..most / 64 {
        // SAFETY: socket takes no pointer.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just opened and belongs to nobody else.
        sockets.push(unsafe { OwnedFd::from_raw_fd(fd) });
        let before = sent;
        while sent < most {
            // SAFETY: frame and address live throughout the call, which only reads them.
            let done = unsafe {
                let to = (&raw const to).cast();
                libc::sendto(
                    fd,
                    frame.as_ptr().cast(),
                    frame.len(),
                    0,
                    to,
                    size_of::<libc::sockaddr_ll>() as u32,
                )
            };
            if done < 0 {
                break;
            }
            sent += 1;
        }
        if sent == before {
            break;
        }
    }
    Ok(sockets)
}

/// Declares a page of this process broken (`MADV_HWPOISON`, `CONFIG_MEMORY_FAILURE`).
pub(crate) fn poison() -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping of one page that only this function knows; it is written once, poisoned, and never
    // touched again.
    let done = unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        page.cast::<u8>().write_volatile(1);
        libc::madvise(page, 4096, libc::MADV_HWPOISON)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
