//! Rare reports of hardware. Each tracepoint is a row of [`report!`]: where its numbers and texts lie in
//! the record, and which arguments or members they are.

use core::ffi::c_void;

use agent_common::ABSENT_U64;
use agent_common::RecordKind;
use agent_common::hardware::{HardwareRecord, Reporter, TEXT_LEN};
use bytemuck::Zeroable;

use crate::ctx::{Argument, Member, Offset, argument, argument_as, member, member_text, text, text_at, wide};
use crate::out::{self, Mode};

/// The two programs of a tracepoint: `place: field offset, type = what it is in BTF mode`.
macro_rules! report {
    (
        $reporter:ident, $classic:ident, $btf:ident, |$ctx:ident| $(let $about:ident = $what:expr;)*
        numbers { $($place:literal: $offset:ident, $type:ty = $number:expr;)+ }
        texts { $($text:literal: $text_offset:ident = $fill:expr;)* }
    ) => {
        $(#[unsafe(no_mangle)] static $offset: Offset = Offset::ABSENT;)+
        $(#[unsafe(no_mangle)] static $text_offset: Offset = Offset::ABSENT;)*

        #[unsafe(link_section = "tracepoint")]
        #[unsafe(no_mangle)]
        fn $classic(ctx: *mut c_void) -> u32 {
            let mut record = begun(Reporter::$reporter);
            $(record.numbers[$place] = wide::<$type>($offset.find(ctx));)+
            $(text(ctx, &$text_offset, &mut record.texts[$text]);)*
            out::send(Mode::Classic, ctx, &record);
            0
        }

        #[unsafe(link_section = "tp_btf")]
        #[unsafe(no_mangle)]
        fn $btf($ctx: *mut c_void) -> u32 {
            let mut record = begun(Reporter::$reporter);
            $(let $about = $what;)*
            $(record.numbers[$place] = $number;)+
            $($fill(&mut record.texts[$text]);)*
            out::send(Mode::Btf, $ctx, &record);
            0
        }
    };
}

#[inline(always)]
fn begun(reporter: Reporter) -> HardwareRecord {
    let mut record = HardwareRecord::zeroed();
    record.header = out::header::<HardwareRecord>(RecordKind::Hardware, out::now());
    record.reporter = reporter as u32;
    record
}

macro_rules! places {
    ($of:ident: $($name:ident)+) => {
        $(#[unsafe(no_mangle)] static $name: $of = $of::ABSENT;)+
    };
}

places!(Argument: MC_TYPE_ARG MC_COUNT_ARG MC_INDEX_ARG MC_TOP_ARG MC_MIDDLE_ARG MC_LOWER_ARG MC_ADDRESS_ARG
    MC_SYNDROME_ARG MC_LABEL_ARG MC_MESSAGE_ARG);

report! {
    MemoryController, mc_event, mc_event_btf, |ctx|
    numbers {
        0: MC_TYPE, u32 = argument_as::<u32>(ctx, &MC_TYPE_ARG);
        1: MC_COUNT, u16 = argument_as::<u16>(ctx, &MC_COUNT_ARG);
        2: MC_INDEX, u8 = argument_as::<u8>(ctx, &MC_INDEX_ARG);
        3: MC_TOP, u8 = argument_as::<u8>(ctx, &MC_TOP_ARG);
        4: MC_MIDDLE, u8 = argument_as::<u8>(ctx, &MC_MIDDLE_ARG);
        5: MC_LOWER, u8 = argument_as::<u8>(ctx, &MC_LOWER_ARG);
        6: MC_ADDRESS, u64 = argument_as::<u64>(ctx, &MC_ADDRESS_ARG);
        7: MC_SYNDROME, u64 = argument_as::<u64>(ctx, &MC_SYNDROME_ARG);
    }
    texts {
        0: MC_LABEL = |to: &mut [u8; TEXT_LEN]| text_at(argument(ctx, &MC_LABEL_ARG), to);
        1: MC_MESSAGE = |to: &mut [u8; TEXT_LEN]| text_at(argument(ctx, &MC_MESSAGE_ARG), to);
    }
}

places!(Argument: AER_STATUS_ARG AER_SEVERITY_ARG AER_DEVICE_ARG);

report! {
    Pcie, aer_event, aer_event_btf, |ctx|
    numbers {
        0: AER_STATUS, u32 = argument_as::<u32>(ctx, &AER_STATUS_ARG);
        1: AER_SEVERITY, u8 = argument_as::<u8>(ctx, &AER_SEVERITY_ARG);
    }
    texts {
        0: AER_DEVICE = |to: &mut [u8; TEXT_LEN]| text_at(argument(ctx, &AER_DEVICE_ARG), to);
    }
}

places!(Argument: MF_PAGE_ARG MF_TYPE_ARG MF_RESULT_ARG);

report! {
    MemoryFailure, memory_failure, memory_failure_btf, |ctx|
    numbers {
        0: MF_PAGE, u64 = argument_as::<u64>(ctx, &MF_PAGE_ARG);
        1: MF_TYPE, u32 = argument_as::<u32>(ctx, &MF_TYPE_ARG);
        2: MF_RESULT, u32 = argument_as::<u32>(ctx, &MF_RESULT_ARG);
    }
    texts {}
}

places!(Argument: EXTLOG_ERROR_ARG EXTLOG_SEQUENCE_ARG EXTLOG_SEVERITY_ARG EXTLOG_UNIT_ARG);
places!(Member: EXTLOG_ERROR_VALID EXTLOG_ERROR_TYPE EXTLOG_ERROR_ADDRESS);

/// `CPER_MEM_VALID_PA` and `CPER_MEM_VALID_ERROR_TYPE`, `include/linux/cper.h`.
const VALID_ADDRESS: u64 = 0x2;
const VALID_TYPE: u64 = 0x4000;

report! {
    ExtendedLog, extlog_mem_event, extlog_btf, |ctx|
    let error = argument(ctx, &EXTLOG_ERROR_ARG);
    let valid = member::<u64>(error, &EXTLOG_ERROR_VALID, 0);
    numbers {
        0: EXTLOG_TYPE, u8 = if valid & VALID_TYPE == 0 { ABSENT_U64 } else { wide::<u8>(EXTLOG_ERROR_TYPE.find(error)) };
        1: EXTLOG_SEVERITY, u8 = argument_as::<u8>(ctx, &EXTLOG_SEVERITY_ARG);
        2: EXTLOG_ADDRESS, u64 =
            if valid & VALID_ADDRESS == 0 { ABSENT_U64 } else { wide::<u64>(EXTLOG_ERROR_ADDRESS.find(error)) };
        3: EXTLOG_SEQUENCE, u32 = argument_as::<u32>(ctx, &EXTLOG_SEQUENCE_ARG);
    }
    texts {
        0: EXTLOG_UNIT = |to: &mut [u8; TEXT_LEN]| text_at(argument(ctx, &EXTLOG_UNIT_ARG), to);
    }
}

// Kernels from 6.13 on pass a struct around the other one (`struct mce_hw_err`).
places!(Argument: MCE_ARG MCE_WRAPPED_ARG);
places!(Member: MCE_M_STATUS MCE_M_ADDRESS MCE_M_MISC MCE_M_SYNDROME MCE_M_MCGSTATUS MCE_M_CPU MCE_M_BANK
    MCE_M_SOCKET MCE_M_VENDOR MCE_M_CPUID);

report! {
    MachineCheck, mce_record, mce_record_btf, |ctx|
    let mce = argument(ctx, &MCE_ARG) | argument(ctx, &MCE_WRAPPED_ARG);
    numbers {
        0: MCE_STATUS, u64 = wide::<u64>(MCE_M_STATUS.find(mce));
        1: MCE_ADDRESS, u64 = wide::<u64>(MCE_M_ADDRESS.find(mce));
        2: MCE_MISC, u64 = wide::<u64>(MCE_M_MISC.find(mce));
        3: MCE_SYNDROME, u64 = wide::<u64>(MCE_M_SYNDROME.find(mce));
        4: MCE_MCGSTATUS, u64 = wide::<u64>(MCE_M_MCGSTATUS.find(mce));
        5: MCE_CPU, u32 = wide::<u32>(MCE_M_CPU.find(mce));
        6: MCE_BANK, u8 = wide::<u8>(MCE_M_BANK.find(mce));
        7: MCE_SOCKET, u32 = wide::<u32>(MCE_M_SOCKET.find(mce));
        8: MCE_VENDOR, u8 = wide::<u8>(MCE_M_VENDOR.find(mce));
        9: MCE_CPUID, u32 = wide::<u32>(MCE_M_CPUID.find(mce));
    }
    texts {}
}

places!(Argument: XMIT_DEVICE_ARG XMIT_QUEUE_ARG);
places!(Member: NETDEV_NAME NETDEV_PARENT PARENT_DRIVER DRIVER_NAME);

report! {
    TransmitTimeout, xmit_timeout, xmit_timeout_btf, |ctx|
    let device = argument(ctx, &XMIT_DEVICE_ARG);
    // As `netdev_drivername()`.
    let parent = member::<u64>(device, &NETDEV_PARENT, 0);
    let driver = member::<u64>(parent, &PARENT_DRIVER, 0);
    numbers {
        0: XMIT_QUEUE, u32 = argument_as::<u32>(ctx, &XMIT_QUEUE_ARG);
    }
    texts {
        0: XMIT_NAME = |to: &mut [u8; TEXT_LEN]| member_text(device, &NETDEV_NAME, to);
        1: XMIT_DRIVER = |to: &mut [u8; TEXT_LEN]| text_at(member::<u64>(driver, &DRIVER_NAME, 0), to);
    }
}

places!(Argument: THERMAL_ZONE_ARG THERMAL_TRIP_ARG THERMAL_TYPE_ARG);
places!(Member: ZONE_ID ZONE_TEMPERATURE ZONE_TYPE);

report! {
    ThermalTrip, thermal_trip, thermal_trip_btf, |ctx|
    let zone = argument(ctx, &THERMAL_ZONE_ARG);
    numbers {
        0: THERMAL_ID, u32 = wide::<u32>(ZONE_ID.find(zone));
        1: THERMAL_TRIP, u32 = argument_as::<u32>(ctx, &THERMAL_TRIP_ARG);
        2: THERMAL_TYPE, u32 = argument_as::<u32>(ctx, &THERMAL_TYPE_ARG);
        3: THERMAL_NO_TEMPERATURE, u32 = wide::<u32>(ZONE_TEMPERATURE.find(zone));
    }
    texts {
        0: THERMAL_ZONE = |to: &mut [u8; TEXT_LEN]| member_text(zone, &ZONE_TYPE, to);
    }
}
