//! Reading what a tracepoint tells: in classic mode its record, at offsets that user space takes from
//! the `format` file; in BTF mode its arguments and the structs they point to, at offsets that user
//! space takes from the kernel's BTF.

use core::ffi::c_void;

use agent_common::hardware::TEXT_LEN;
use agent_common::{ABSENT_U64, COMM_LEN};
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

    /// Whether the kernel has it.
    #[inline(always)]
    pub fn is_there(&'static self) -> bool {
        self.get() != 0
    }

    /// Where the field lies in this record, 0 if nowhere.
    #[inline(always)]
    pub fn find(&'static self, ctx: *mut c_void) -> u64 {
        let offset = self.get();
        if offset == 0 { 0 } else { ctx as u64 + offset as u64 }
    }

    #[inline(always)]
    fn get(&self) -> u16 {
        // SAFETY: a plain read of a constant; volatile because user space changes it before loading.
        unsafe { core::ptr::read_volatile(&self.0) }
    }
}

/// Place of an argument of the tracepoint, from 1; 0 where the kernel passes none of this type.
#[repr(transparent)]
pub struct Argument(u8);

impl Argument {
    /// Absent until user space says otherwise.
    pub const ABSENT: Self = Self(0);

    /// Whether the kernel passes it.
    #[inline(always)]
    pub fn is_there(&'static self) -> bool {
        constant(&self.0) != 0
    }
}

/// Offset of a struct's member plus 1; 0 where the kernel has no such member.
#[repr(transparent)]
pub struct Member(u16);

impl Member {
    /// Absent until user space says otherwise.
    pub const ABSENT: Self = Self(0);

    /// Whether the kernel has it.
    #[inline(always)]
    pub fn is_there(&'static self) -> bool {
        constant(&self.0) != 0
    }

    /// Where it lies in the struct at this address, 0 if nowhere.
    #[inline(always)]
    pub fn find(&'static self, address: u64) -> u64 {
        let place = constant(&self.0);
        if place == 0 || address == 0 { 0 } else { address + place as u64 - 1 }
    }
}

/// Offset of a member that the kernel has: without it the program is not loaded.
#[repr(transparent)]
pub struct Place(u16);

impl Place {
    /// Until user space says.
    pub const UNSET: Self = Self(0);

    /// Bytes from the beginning of the struct.
    #[inline(always)]
    pub fn get(&'static self) -> usize {
        constant(&self.0) as usize
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
    peek(ctx as u64, offset as u64, absent)
}

/// An argument of the tracepoint (BTF mode), 0 where there is none.
///
/// Read by helper, like everything else: a direct load gives a pointer with a type, which newer kernels
/// may want compared with null before anything is added to it (`raw_tp_null_args`, `kernel/bpf/btf.c`).
#[inline(always)]
pub fn argument(ctx: *mut c_void, place: &'static Argument) -> u64 {
    let place = constant(&place.0);
    if place == 0 {
        return 0;
    }
    peek(ctx as u64, (place as u64 - 1) * 8, 0)
}

/// A number widened without a sign; [`ABSENT_U64`] where it lies nowhere.
#[inline(always)]
pub fn wide<T: Copy + Default + Into<u64>>(at: u64) -> u64 {
    if at == 0 { ABSENT_U64 } else { peek(at, 0, T::default()).into() }
}

/// An argument as [`wide`] gives it.
#[inline(always)]
pub fn argument_as<T: Copy + Default + Into<u64>>(ctx: *mut c_void, place: &'static Argument) -> u64 {
    let place = constant(&place.0);
    // The kernel widens each to 64 bits; the machine is little-endian, so its own bytes come first.
    if place == 0 { ABSENT_U64 } else { wide::<T>(ctx as u64 + (place as u64 - 1) * 8) }
}

/// A member of the struct at this address, or `absent` where there is no such struct or member.
#[inline(always)]
pub fn member<T: Copy>(address: u64, member: &'static Member, absent: T) -> T {
    let place = constant(&member.0);
    if place == 0 || address == 0 {
        return absent;
    }
    peek(address, place as u64 - 1, absent)
}

/// Fills in a name that lies in the struct at this address.
#[inline(always)]
pub fn member_name(address: u64, member: &'static Member, to: &mut [u8; COMM_LEN]) {
    let place = constant(&member.0);
    if place == 0 || address == 0 {
        return;
    }
    // SAFETY: writes at most `COMM_LEN` bytes; the helper checks the source.
    unsafe {
        bpf_probe_read_kernel_str(
            to.as_mut_ptr().cast(),
            COMM_LEN as u32,
            (address as *const u8).add(place as usize - 1).cast(),
        );
    }
}

/// What lies there, or `absent` where nothing can be read.
#[inline(always)]
pub fn peek<T: Copy>(address: u64, offset: u64, absent: T) -> T {
    let mut value = absent;
    // SAFETY: writes at most `size_of::<T>()` bytes to `value`; the helper checks the source.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            (address as *const u8).add(offset as usize).cast(),
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

/// Fills in a text behind a `__data_loc` word.
#[inline(always)]
pub fn text(ctx: *mut c_void, offset: &'static Offset, to: &mut [u8; TEXT_LEN]) {
    if offset.is_there() {
        text_at(ctx as u64 + field(ctx, offset, 0u32) as u16 as u64, to);
    }
}

/// Fills in a text that lies in the struct at this address.
#[inline(always)]
pub fn member_text(address: u64, member: &'static Member, to: &mut [u8; TEXT_LEN]) {
    text_at(member.find(address), to);
}

/// Fills in the text at this address.
#[inline(always)]
pub fn text_at(address: u64, to: &mut [u8; TEXT_LEN]) {
    if address == 0 {
        return;
    }
    // SAFETY: writes at most `TEXT_LEN` bytes; the helper checks the source.
    unsafe {
        bpf_probe_read_kernel_str(to.as_mut_ptr().cast(), TEXT_LEN as u32, (address as *const u8).cast());
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
