//! `oom:mark_victim`, and `out_of_memory` that leads to it.

use agent_common::names;

use super::{FUNCTION, Hook, Mode, Probe, Shape, argument, member, needs, nothing, takes};

pub(super) const PROBE: Probe = Probe {
    name: "oom",
    key: "oom",
    hooks: &[
        Hook {
            programs: [names::OOM_KILL, names::OOM_KILL_BTF],
            category: "oom",
            event: "mark_victim",
            fields: &[
                needs("pid", "OOM_PID", Shape::Number(4)),
                // Kernels without commit 72ba14deb40a (5.10 among them) tell the pid only.
                takes("uid", "OOM_UID", Shape::Number(4)),
                takes("comm", "OOM_COMM", Shape::Name("OOM_COMM_BY_REF")),
                takes("total_vm", "OOM_TOTAL_VM", Shape::Number(8)),
                takes("anon_rss", "OOM_ANON_RSS", Shape::Number(8)),
                takes("file_rss", "OOM_FILE_RSS", Shape::Number(8)),
                takes("shmem_rss", "OOM_SHMEM_RSS", Shape::Number(8)),
                takes("pgtables", "OOM_PGTABLES", Shape::Number(8)),
                takes("oom_score_adj", "OOM_SCORE_ADJ", Shape::Number(2)),
            ],
            // `(int pid)` before that commit, `(struct task_struct *task, uid_t uid)` since.
            arguments: &[
                argument("*task_struct", "OOM_TASK_ARG"),
                argument("int", "OOM_PID_ARG"),
                argument("uid_t", "OOM_UID_ARG"),
            ],
        },
        Hook {
            programs: [names::OOM_BEGIN, names::OOM_BEGIN],
            category: FUNCTION,
            event: "out_of_memory",
            fields: &[],
            arguments: &[argument("*oom_control", "OOM_CALL_ARG")],
        },
    ],
    members: &[
        member(&["task_struct.pid"], "OOM_TASK_PID", Shape::Number(4)),
        member(&["task_struct.tgid"], "OOM_TASK_TGID", Shape::Number(4)),
        member(&["task_struct.comm"], "OOM_TASK_COMM", Shape::Letters(16)),
        member(&["task_struct.mm"], "OOM_TASK_MM", Shape::Number(8)),
        member(&["task_struct.signal"], "OOM_TASK_SIGNAL", Shape::Number(8)),
        member(&["signal_struct.oom_score_adj"], "OOM_SIGNAL_SCORE_ADJ", Shape::Number(2)),
        member(&["mm_struct.total_vm"], "OOM_MM_TOTAL_VM", Shape::Number(8)),
        // The counters are `atomic_long_t` before 6.2 and `struct percpu_counter` since (f1a7941243c1);
        // their order is that of MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES.
        member(
            &["mm_struct.rss_stat[0].count", "mm_struct.rss_stat.count[0].counter"],
            "OOM_MM_FILE",
            Shape::Number(8),
        ),
        member(
            &["mm_struct.rss_stat[1].count", "mm_struct.rss_stat.count[1].counter"],
            "OOM_MM_ANON",
            Shape::Number(8),
        ),
        member(
            &["mm_struct.rss_stat[3].count", "mm_struct.rss_stat.count[3].counter"],
            "OOM_MM_SHMEM",
            Shape::Number(8),
        ),
        member(&["mm_struct.pgtables_bytes.counter"], "OOM_MM_PGTABLES", Shape::Number(8)),
        member(&["mm_struct.arg_start"], "OOM_MM_ARG_START", Shape::Number(8)),
        member(&["mm_struct.arg_end"], "OOM_MM_ARG_END", Shape::Number(8)),
        // The name is from 5.5 on (cf25e24db61c).
        member(
            &["task_struct.start_boottime", "task_struct.real_start_time"],
            "OOM_TASK_START",
            Shape::Number(8),
        ),
        member(&["task_struct.cgroups"], "OOM_TASK_CGROUPS", Shape::Number(8)),
        member(&["css_set.subsys"], "OOM_SET_SUBSYS", Shape::Letters(8)),
        member(&["cgroup_subsys_state.ss"], "OOM_CSS_SS", Shape::Number(8)),
        member(&["cgroup_subsys.name"], "OOM_SS_NAME", Shape::Number(8)),
        member(&["cgroup_subsys_state.parent"], "OOM_CSS_PARENT", Shape::Number(8)),
        member(&["cgroup_subsys_state.serial_nr"], "OOM_CSS_SERIAL", Shape::Number(8)),
        member(&["cgroup_subsys_state.cgroup"], "OOM_CSS_CGROUP", Shape::Number(8)),
        member(&["mem_cgroup.oom_group"], "OOM_MEMCG_GROUP", Shape::Number(1)),
        // With CONFIG_MEMCG_V1, from 6.11 on.
        member(&["mem_cgroup.oom_lock"], "OOM_MEMCG_LOCK", Shape::Number(1)),
        member(&["cgroup.kn"], "OOM_CGROUP_NODE", Shape::Number(8)),
        member(&["kernfs_node.id"], "OOM_NODE_ID", Shape::Number(8)),
        member(&["kernfs_node.name"], "OOM_NODE_NAME", Shape::Number(8)),
        // From 6.15 on to be read under RCU (633488947ef6).
        member(&["kernfs_node.__parent", "kernfs_node.parent"], "OOM_NODE_PARENT", Shape::Number(8)),
        member(&["oom_control.memcg"], "OOM_CALL_MEMCG", Shape::Number(8)),
        member(&["oom_control.gfp_mask"], "OOM_CALL_GFP", Shape::Number(4)),
        member(&["oom_control.order"], "OOM_CALL_ORDER", Shape::Number(4)),
        member(&["oom_control.chosen"], "OOM_CALL_CHOSEN", Shape::Number(8)),
        member(&["oom_control.constraint"], "OOM_CALL_CONSTRAINT", Shape::Number(4)),
    ],
    enough: &[&["OOM_TASK_ARG", "OOM_TASK_PID"], &["OOM_PID_ARG"]],
    // Tells the victim's process besides its thread.
    prefers: Mode::Btf,
    maps: &[names::OOM_SCRATCH, names::OOM_CALL],
    rare: false,
    fallback: "OOM kills are read from the kernel log (/dev/kmsg)",
    wanted: |options| options.oom,
    lacks: nothing,
};
