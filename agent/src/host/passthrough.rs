//! Two ioctls that carry a command to a disk: `NVME_IOCTL_ADMIN_CMD` and `SG_IO`. What is sent only reads.

use std::ffi::c_void;
use std::io;

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

/// How long the kernel waits for the disk, milliseconds.
const TIMEOUT_MS: u32 = 5000;

/// `struct nvme_passthru_cmd`, `include/uapi/linux/nvme_ioctl.h`.
#[repr(C)]
#[derive(Default)]
struct NvmeCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    address: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: u32,
    cdw11_to_15: [u32; 5],
    timeout_ms: u32,
    result: u32,
}
const _: () = assert!(size_of::<NvmeCommand>() == 72);

/// `struct sg_io_hdr`, `include/scsi/sg.h`.
#[repr(C)]
struct ScsiCommand {
    interface: i32,
    direction: i32,
    command_len: u8,
    sense_room: u8,
    pieces: u16,
    data_len: u32,
    data: *mut c_void,
    command: *const u8,
    sense: *mut u8,
    timeout_ms: u32,
    flags: u32,
    pack_id: i32,
    user: *mut c_void,
    status: u8,
    masked_status: u8,
    message: u8,
    sense_len: u8,
    host_status: u16,
    driver_status: u16,
    residual: i32,
    duration_ms: u32,
    info: u32,
}
const _: () = assert!(size_of::<ScsiCommand>() == if size_of::<usize>() == 8 { 88 } else { 64 });

/// Get Log Page (NVM Express Base Specification, 5.1.12).
const GET_LOG_PAGE: u8 = 0x02;
/// The controller as a whole rather than one of its namespaces.
const WHOLE_CONTROLLER: u32 = u32::MAX;
/// `NVME_IOCTL_ADMIN_CMD`.
const NVME_ADMIN: Opcode = opcode::read_write::<NvmeCommand>(b'N', 0x41);

const SG_IO: Opcode = 0x2285;
const SG_NONE: i32 = -1;
const SG_FROM_DEVICE: i32 = -3;
/// Room for sense data; with an ATA descriptor it is 22 bytes.
const SENSE: usize = 64;
/// `DRIVER_SENSE`: there is sense data; no failure of the driver.
const DRIVER_SENSE: u16 = 0x08;

/// A command whose buffers are borrowed for as long as this lives.
struct Call<'a, T, const OPCODE: Opcode> {
    command: &'a mut T,
}

// SAFETY: the opcode is the one whose argument is a `T` (`NVME_ADMIN` with `NvmeCommand`, `SG_IO` with
// `ScsiCommand`: the only two uses, below), laid out as the kernel has it, and the pointers in it are to
// buffers of the lengths beside them, which outlive the call.
unsafe impl<T, const OPCODE: Opcode> Ioctl for Call<'_, T, OPCODE> {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.command).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<IoctlOutput> {
        Ok(out)
    }
}

/// Reads the beginning of a log page of an NVMe controller.
pub(super) fn nvme_log(device: impl AsFd, page: u8, data: &mut [u8]) -> io::Result<()> {
    let words = (data.len() / 4) as u32;
    if words == 0 || words > 1 << 12 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut command = NvmeCommand {
        opcode: GET_LOG_PAGE,
        namespace: WHOLE_CONTROLLER,
        address: data.as_mut_ptr() as u64,
        data_len: words * 4,
        cdw10: (words - 1) << 16 | u32::from(page),
        timeout_ms: TIMEOUT_MS,
        ..NvmeCommand::default()
    };
    // SAFETY: `Call` describes what this opcode reads and writes; `data` has `data_len` bytes.
    match unsafe { ioctl(device, Call::<_, NVME_ADMIN> { command: &mut command }) }? {
        0 => Ok(()),
        status => {
            Err(io::Error::other(format!("the controller refuses log page {page} (status {status:#x})")))
        }
    }
}

/// Bytes of a command, by the group in its code (SPC-4, 4.3.5.1); the rest of the 16 are zeroes.
const fn command_len(code: u8) -> u8 {
    match code >> 5 {
        0 => 6,
        1 | 2 => 10,
        5 => 12,
        _ => 16,
    }
}

/// Sends a command that reads into `data` (nothing, if that is empty) and gives the sense data, which is
/// empty where the disk has nothing to say.
pub(super) fn scsi(device: impl AsFd, command: &[u8; 16], data: &mut [u8]) -> io::Result<Vec<u8>> {
    let mut sense = vec![0; SENSE];
    let mut call = ScsiCommand {
        interface: i32::from(b'S'),
        direction: if data.is_empty() { SG_NONE } else { SG_FROM_DEVICE },
        command_len: command_len(command[0]),
        sense_room: SENSE as u8,
        pieces: 0,
        data_len: data.len() as u32,
        data: data.as_mut_ptr().cast(),
        command: command.as_ptr(),
        sense: sense.as_mut_ptr(),
        timeout_ms: TIMEOUT_MS,
        flags: 0,
        pack_id: 0,
        user: std::ptr::null_mut(),
        status: 0,
        masked_status: 0,
        message: 0,
        sense_len: 0,
        host_status: 0,
        driver_status: 0,
        residual: 0,
        duration_ms: 0,
        info: 0,
    };
    // SAFETY: `Call` describes what this opcode reads and writes; the three buffers have the lengths beside them.
    unsafe { ioctl(device, Call::<_, SG_IO> { command: &mut call }) }?;
    if call.host_status != 0 || call.driver_status & !DRIVER_SENSE != 0 {
        return Err(Errno::IO.into());
    }
    sense.truncate(usize::from(call.sense_len));
    Ok(sense)
}
