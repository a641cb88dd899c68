use sysops_agent::ebpf::tasks::TaskIter;
use sysops_agent::host::live::LiveHost;
use sysops_agent::host::tasks::Tasks;
fn main() {
    let mut i = TaskIter::load(&LiveHost::default()).unwrap_or_else(|e| panic!("{e:?}"));
    let mut n = 0;
    i.scan(&mut |t, p| {
        n += 1;
        if n < 20 || t.tgid == 1 {
            println!("{t:?} {p:?}");
        }
    })
    .unwrap();
    println!("{n}");
    println!("{:?}", std::fs::read_link("/proc/self/ns/pid"));
}
