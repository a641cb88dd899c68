//! One ioctl: `ETHTOOL_GDRVINFO`, driver and firmware of a network interface. Needs no rights.

use std::ffi::{CStr, c_void};
use std::io;

use rustix::fd::AsFd;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::NicDriver;

/// `SIOCETHTOOL`, `include/uapi/linux/sockios.h`.
const SIOCETHTOOL: Opcode = 0x8946;
/// `ETHTOOL_GDRVINFO`, `include/uapi/linux/ethtool.h`.
const GDRVINFO: u32 = 3;
/// `IFNAMSIZ`, the closing NUL included.
const IFNAMSIZ: usize = 16;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rest: [u8; 64],
}
const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `struct ifreq` with the member used here.
#[repr(C)]
struct Request {
    name: [u8; IFNAMSIZ],
    data: *mut c_void,
    rest: [u8; 24 - size_of::<*mut c_void>()],
}
const _: () = assert!(size_of::<Request>() == 40);

/// The request and what it points to, kept together while the kernel works on them.
struct DriverQuery<'a> {
    request: Request,
    info: &'a mut DriverInfo,
}

// SAFETY: `SIOCETHTOOL` takes a pointer to `struct ifreq` whose `ifr_data` points to a
// `struct ethtool_drvinfo` for this command; both are `repr(C)` with the sizes asserted above,
// and both are borrowed for longer than the call.
unsafe impl Ioctl for DriverQuery<'_> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        SIOCETHTOOL
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.request.data = std::ptr::from_mut(self.info).cast();
        std::ptr::from_mut(&mut self.request).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// Driver and firmware of `interface`.
pub(super) fn driver(interface: &str) -> io::Result<NicDriver> {
    let mut name = [0; IFNAMSIZ];
    if interface.len() >= IFNAMSIZ || interface.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    name[..interface.len()].copy_from_slice(interface.as_bytes());
    let mut info = DriverInfo {
        cmd: GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        rest: [0; 64],
    };
    let request = Request { name, data: std::ptr::null_mut(), rest: [0; 24 - size_of::<*mut c_void>()] };
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: `DriverQuery` describes exactly what this opcode reads and writes (see its impl).
    unsafe { ioctl(socket.as_fd(), DriverQuery { request, info: &mut info }) }?;
    Ok(NicDriver { driver: text(&info.driver), firmware: text(&info.firmware) })
}

fn text(bytes: &[u8]) -> String {
    let bytes = CStr::from_bytes_until_nul(bytes).map_or(bytes, CStr::to_bytes);
    String::from_utf8_lossy(bytes).trim().to_owned()
}
