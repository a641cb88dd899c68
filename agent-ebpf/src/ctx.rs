//! Reading a tracepoint's record at offsets that user space takes from its `format` file.

use core::ffi::c_void;

use agent_common::COMM_LEN;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_probe_read_kernel, bpf_probe_read_kernel_str};

/// Offset of a field in the record; 0 where the kernel has no such field (there the common fields lie).
///
/// 16 bits, so that kernels before 5.5, which do not look into read-only maps, can bound the
/// address (`check_reg_sane_offset`).
#[repr(transparent)]
pub struct Offset(u16);

impl Offset {
    /// Absent until user space says otherwise.
    pub const ABSENT: Self = Self(0);

    #[inline(always)]
    fn get(&self) -> u16 {
        // SAFETY: a plain read of a constant; volatile because user space changes it before loading.
        unsafe { core::ptr::read_volatile(&self.0) }
    }
}

/// A constant that user space sets before loading.
#[inline(always)]
pub fn constant<T: Copy>(value: &'static T) -> T {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(value) }
}

/// A field, or `absent` where the kernel has none.
///
/// By helper and not by a direct load: the kernel refuses to attach a program whose direct loads
/// lie past the end of the record (`perf_event_set_bpf_prog` checks `max_ctx_offset`), and on
/// another kernel the record may be shorter.
#[inline(always)]
pub fn field<T: Copy>(ctx: *mut c_void, offset: &'static Offset, absent: T) -> T {
    let offset = offset.get();
    if offset == 0 {
        return absent;
    }
    let mut value = absent;
    // SAFETY: writes at most `size_of::<T>()` bytes to `value`; the helper checks the source.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            ctx.cast::<u8>().add(offset as usize).cast(),
        );
    }
    value
}

/// Fills in a name: `char[16]` in the record, or behind a `__data_loc` word (low half: where).
///
/// In place, here and below: the alignment of a `[u8; 16]` is 1, and passing one by value becomes
/// byte-wise copies or a call of `memcpy`.
#[inline(always)]
pub fn name(ctx: *mut c_void, offset: &'static Offset, by_reference: &'static u8, to: &mut [u8; COMM_LEN]) {
    let mut place = offset.get();
    if place == 0 {
        return;
    }
    if constant(by_reference) != 0 {
        place = field(ctx, offset, 0u32) as u16;
    }
    // SAFETY: writes at most `COMM_LEN` bytes; the helper checks the source.
    unsafe {
        bpf_probe_read_kernel_str(
            to.as_mut_ptr().cast(),
            COMM_LEN as u32,
            ctx.cast::<u8>().add(place as usize).cast(),
        );
    }
}

/// Fills in the current task's name.
#[inline(always)]
pub fn current_name(to: &mut [u8; COMM_LEN]) {
    // SAFETY: writes at most `COMM_LEN` bytes.
    unsafe { bpf_get_current_comm(to.as_mut_ptr().cast(), COMM_LEN as u32) };
}

/// Process id of the current task.
#[inline(always)]
pub fn current_pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}
