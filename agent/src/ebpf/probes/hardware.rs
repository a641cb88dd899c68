//! Tracepoints that report hardware: each a probe of its own, since kernels and machines have different ones.

use agent_common::names;

use super::{Hook, Mode, Probe, Shape, argument, argument_nth, member, needs, nothing, takes};

/// What a text needs no constant for: it always lies behind a reference.
const TEXT: Shape = Shape::Text;

const BASE: Probe = Probe {
    name: "",
    key: "ras",
    hooks: &[],
    members: &[],
    enough: &[],
    prefers: Mode::Classic,
    maps: &[],
    rare: true,
    fallback: "faults of the hardware are read from the kernel log, with fewer details",
    wanted: |options| options.ras,
    lacks: nothing,
};

pub(super) const MEMORY_CONTROLLER: Probe = Probe {
    name: "mc_event",
    hooks: &[Hook {
        programs: names::MC_EVENT,
        category: "ras",
        event: "mc_event",
        fields: &[
            needs("error_type", "MC_TYPE", Shape::Number(4)),
            takes("error_count", "MC_COUNT", Shape::Number(2)),
            takes("mc_index", "MC_INDEX", Shape::Number(1)),
            takes("top_layer", "MC_TOP", Shape::Number(1)),
            takes("middle_layer", "MC_MIDDLE", Shape::Number(1)),
            takes("lower_layer", "MC_LOWER", Shape::Number(1)),
            takes("address", "MC_ADDRESS", Shape::Number(8)),
            takes("syndrome", "MC_SYNDROME", Shape::Number(8)),
            takes("label", "MC_LABEL", TEXT),
            takes("msg", "MC_MESSAGE", TEXT),
        ],
        arguments: &[
            argument("unsigned int", "MC_TYPE_ARG"),
            argument("*char", "MC_MESSAGE_ARG"),
            argument_nth("*char", 1, "MC_LABEL_ARG"),
            argument("int", "MC_COUNT_ARG"),
            argument("u8", "MC_INDEX_ARG"),
            argument("s8", "MC_TOP_ARG"),
            argument_nth("s8", 1, "MC_MIDDLE_ARG"),
            argument_nth("s8", 2, "MC_LOWER_ARG"),
            argument("long unsigned int", "MC_ADDRESS_ARG"),
            argument_nth("long unsigned int", 1, "MC_SYNDROME_ARG"),
        ],
    }],
    members: &[],
    enough: &[&["MC_TYPE_ARG"]],
    ..BASE
};

pub(super) const PCIE: Probe = Probe {
    name: "aer_event",
    hooks: &[Hook {
        programs: names::AER_EVENT,
        category: "ras",
        event: "aer_event",
        fields: &[
            needs("status", "AER_STATUS", Shape::Number(4)),
            needs("severity", "AER_SEVERITY", Shape::Number(1)),
            takes("dev_name", "AER_DEVICE", TEXT),
        ],
        arguments: &[
            argument("*char", "AER_DEVICE_ARG"),
            argument("u32", "AER_STATUS_ARG"),
            argument("u8", "AER_SEVERITY_ARG"),
        ],
    }],
    members: &[],
    enough: &[&["AER_STATUS_ARG", "AER_SEVERITY_ARG"]],
    ..BASE
};

pub(super) const MEMORY_FAILURE: Probe = Probe {
    name: "memory_failure",
    hooks: &[Hook {
        programs: names::MEMORY_FAILURE,
        category: "ras",
        event: "memory_failure_event",
        fields: &[
            needs("pfn", "MF_PAGE", Shape::Number(8)),
            takes("type", "MF_TYPE", Shape::Number(4)),
            needs("result", "MF_RESULT", Shape::Number(4)),
        ],
        arguments: &[
            argument("long unsigned int", "MF_PAGE_ARG"),
            argument("int", "MF_TYPE_ARG"),
            argument_nth("int", 1, "MF_RESULT_ARG"),
        ],
    }],
    members: &[],
    enough: &[&["MF_PAGE_ARG", "MF_RESULT_ARG"]],
    ..BASE
};

pub(super) const EXTENDED_LOG: Probe = Probe {
    name: "extlog_mem_event",
    hooks: &[Hook {
        programs: names::EXTLOG,
        category: "ras",
        event: "extlog_mem_event",
        fields: &[
            takes("etype", "EXTLOG_TYPE", Shape::Number(1)),
            needs("sev", "EXTLOG_SEVERITY", Shape::Number(1)),
            takes("pa", "EXTLOG_ADDRESS", Shape::Number(8)),
            takes("err_seq", "EXTLOG_SEQUENCE", Shape::Number(4)),
            takes("fru_text", "EXTLOG_UNIT", TEXT),
        ],
        arguments: &[
            argument("*cper_sec_mem_err", "EXTLOG_ERROR_ARG"),
            argument("u32", "EXTLOG_SEQUENCE_ARG"),
            argument("*char", "EXTLOG_UNIT_ARG"),
            argument("u8", "EXTLOG_SEVERITY_ARG"),
        ],
    }],
    members: &[
        member(&["cper_sec_mem_err.validation_bits"], "EXTLOG_ERROR_VALID", Shape::Number(8)),
        member(&["cper_sec_mem_err.error_type"], "EXTLOG_ERROR_TYPE", Shape::Number(1)),
        member(&["cper_sec_mem_err.physical_addr"], "EXTLOG_ERROR_ADDRESS", Shape::Number(8)),
    ],
    enough: &[&["EXTLOG_SEVERITY_ARG"]],
    ..BASE
};

pub(super) const MACHINE_CHECK: Probe = Probe {
    name: "mce_record",
    hooks: &[Hook {
        programs: names::MCE_RECORD,
        category: "mce",
        event: "mce_record",
        fields: &[
            needs("status", "MCE_STATUS", Shape::Number(8)),
            takes("addr", "MCE_ADDRESS", Shape::Number(8)),
            takes("misc", "MCE_MISC", Shape::Number(8)),
            takes("synd", "MCE_SYNDROME", Shape::Number(8)),
            takes("mcgstatus", "MCE_MCGSTATUS", Shape::Number(8)),
            takes("cpu", "MCE_CPU", Shape::Number(4)),
            takes("bank", "MCE_BANK", Shape::Number(1)),
            takes("socketid", "MCE_SOCKET", Shape::Number(4)),
            takes("cpuvendor", "MCE_VENDOR", Shape::Number(1)),
            takes("cpuid", "MCE_CPUID", Shape::Number(4)),
        ],
        // Wrapped since 6.13 (750fd23926f1); the inner struct's paths below are then the longer ones.
        arguments: &[argument("*mce", "MCE_ARG"), argument("*mce_hw_err", "MCE_WRAPPED_ARG")],
    }],
    members: &[
        member(&["mce_hw_err.m.status", "mce.status"], "MCE_M_STATUS", Shape::Number(8)),
        member(&["mce_hw_err.m.addr", "mce.addr"], "MCE_M_ADDRESS", Shape::Number(8)),
        member(&["mce_hw_err.m.misc", "mce.misc"], "MCE_M_MISC", Shape::Number(8)),
        member(&["mce_hw_err.m.synd", "mce.synd"], "MCE_M_SYNDROME", Shape::Number(8)),
        member(&["mce_hw_err.m.mcgstatus", "mce.mcgstatus"], "MCE_M_MCGSTATUS", Shape::Number(8)),
        member(&["mce_hw_err.m.extcpu", "mce.extcpu"], "MCE_M_CPU", Shape::Number(4)),
        member(&["mce_hw_err.m.bank", "mce.bank"], "MCE_M_BANK", Shape::Number(1)),
        member(&["mce_hw_err.m.socketid", "mce.socketid"], "MCE_M_SOCKET", Shape::Number(4)),
        member(&["mce_hw_err.m.cpuvendor", "mce.cpuvendor"], "MCE_M_VENDOR", Shape::Number(1)),
        member(&["mce_hw_err.m.cpuid", "mce.cpuid"], "MCE_M_CPUID", Shape::Number(4)),
    ],
    enough: &[&["MCE_ARG", "MCE_M_STATUS"], &["MCE_WRAPPED_ARG", "MCE_M_STATUS"]],
    ..BASE
};

pub(super) const TRANSMIT_TIMEOUT: Probe = Probe {
    name: "net_tx_timeout",
    key: "net_tx_timeout",
    hooks: &[Hook {
        programs: names::XMIT_TIMEOUT,
        category: "net",
        event: "net_dev_xmit_timeout",
        fields: &[
            needs("name", "XMIT_NAME", TEXT),
            takes("driver", "XMIT_DRIVER", TEXT),
            takes("queue_index", "XMIT_QUEUE", Shape::Number(4)),
        ],
        arguments: &[argument("*net_device", "XMIT_DEVICE_ARG"), argument("int", "XMIT_QUEUE_ARG")],
    }],
    members: &[
        member(&["net_device.name"], "NETDEV_NAME", Shape::Letters(16)),
        member(&["net_device.dev.parent"], "NETDEV_PARENT", Shape::Number(8)),
        member(&["device.driver"], "PARENT_DRIVER", Shape::Number(8)),
        member(&["device_driver.name"], "DRIVER_NAME", Shape::Number(8)),
    ],
    enough: &[&["XMIT_DEVICE_ARG", "NETDEV_NAME"]],
    fallback: "adapters that do not send are read from the kernel log",
    wanted: |options| options.net_tx_timeout,
    ..BASE
};

pub(super) const THERMAL_TRIP: Probe = Probe {
    name: "thermal",
    key: "thermal",
    hooks: &[Hook {
        programs: names::THERMAL_TRIP,
        category: "thermal",
        event: "thermal_zone_trip",
        fields: &[
            takes("id", "THERMAL_ID", Shape::Number(4)),
            takes("trip", "THERMAL_TRIP", Shape::Number(4)),
            needs("trip_type", "THERMAL_TYPE", Shape::Number(4)),
            takes("thermal_zone", "THERMAL_ZONE", TEXT),
        ],
        arguments: &[
            argument("*thermal_zone_device", "THERMAL_ZONE_ARG"),
            argument("int", "THERMAL_TRIP_ARG"),
            argument("thermal_trip_type", "THERMAL_TYPE_ARG"),
        ],
    }],
    members: &[
        member(&["thermal_zone_device.id"], "ZONE_ID", Shape::Number(4)),
        member(&["thermal_zone_device.temperature"], "ZONE_TEMPERATURE", Shape::Number(4)),
        member(&["thermal_zone_device.type"], "ZONE_TYPE", Shape::Letters(16)),
    ],
    enough: &[&["THERMAL_TYPE_ARG"]],
    // Tells the temperature, too.
    prefers: Mode::Btf,
    fallback: "only critical temperatures are read from the kernel log",
    wanted: |options| options.thermal,
    ..BASE
};
