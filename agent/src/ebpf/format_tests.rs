use super::*;

const HEAD: &str = "name: x\nID: 7\nformat:\n";

fn file(kernel: &str, event: &str) -> Format {
    let path = format!("{}/src/ebpf/testdata/{kernel}/{event}/format", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    Format::parse(&text).expect(&path)
}

fn check(kernel: &str, event: &str, name: &str, expect: Option<(u16, u16, Kind)>) {
    let found = file(kernel, event).field(name).map(|f| (f.offset, f.size, f.kind));
    assert_eq!(found, expect, "{kernel} {event} {name}");
}

#[test]
fn fields_lie_where_six_kernels_put_them() {
    use Kind::{Array, DataLoc, Plain};
    for kernel in ["5.10", "6.1", "6.12", "6.18", "7.2", "7.3"] {
        let old = kernel == "5.10";
        check(kernel, "oom/mark_victim", "pid", Some((8, 4, Plain)));
        check(kernel, "oom/mark_victim", "comm", (!old).then_some((12, 4, DataLoc)));
        check(kernel, "oom/mark_victim", "total_vm", (!old).then_some((16, 8, Plain)));
        check(kernel, "oom/mark_victim", "uid", (!old).then_some((48, 4, Plain)));
        check(kernel, "oom/mark_victim", "oom_score_adj", (!old).then_some((64, 2, Plain)));
        for event in ["block/block_rq_issue", "block/block_rq_complete"] {
            check(kernel, event, "dev", Some((8, 4, Plain)));
            check(kernel, event, "sector", Some((16, 8, Plain)));
            check(kernel, event, "nr_sector", Some((24, 4, Plain)));
        }
        check(kernel, "block/block_rq_issue", "bytes", Some((28, 4, Plain)));
        check(kernel, "block/block_rq_complete", "error", Some((28, 4, Plain)));
        let place = match kernel {
            "5.10" | "6.1" => (32, 8, Array),
            "6.12" => (34, 8, Array),
            _ => (34, 10, Array),
        };
        check(kernel, "block/block_rq_complete", "rwbs", Some(place));
        let in_place = ["5.10", "6.1", "6.12"].contains(&kernel);
        let (comm, pid) = if in_place { ((8, 16, Array), 24) } else { ((8, 4, DataLoc), 12) };
        check(kernel, "sched/sched_process_hang", "comm", Some(comm));
        check(kernel, "sched/sched_process_hang", "pid", Some((pid, 4, Plain)));
    }
}

#[test]
fn ids_and_signs_are_read() {
    assert_eq!(file("6.18", "oom/mark_victim").id, 609);
    assert_eq!(file("6.18", "block/block_rq_issue").id, 2104);
    assert!(file("6.18", "oom/mark_victim").field("oom_score_adj").expect("there").signed);
    assert!(!file("6.18", "oom/mark_victim").field("uid").expect("there").signed);
}

fn check_line(line: &str, expect: Result<(&str, u16, u16, Kind), usize>) {
    let parsed = Format::parse(&format!("{HEAD}{line}\n"));
    match expect {
        Ok((name, offset, size, kind)) => {
            let format = parsed.unwrap_or_else(|e| panic!("{line}: {e}"));
            let f = &format.fields[0];
            assert_eq!((f.name.as_str(), f.offset, f.size, f.kind), (name, offset, size, kind), "{line}");
        }
        Err(at) => assert_eq!(parsed, Err(FormatError::BadField { line: at }), "{line}"),
    }
}

#[test]
fn declarations_of_every_sort() {
    use Kind::{Array, DataLoc, Plain};
    check_line("\tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;", Ok(("pid", 8, 4, Plain)));
    check_line("field:unsigned long a_b;\toffset:0;\tsize:8;\tsigned:0;", Ok(("a_b", 0, 8, Plain)));
    check_line("field:const void *p; offset:8; size:8; signed:0;", Ok(("p", 8, 8, Plain)));
    check_line("field:void * q; offset:8; size:8; signed:0;", Ok(("q", 8, 8, Plain)));
    check_line("field:char comm[16]; offset:8; size:16; signed:0;", Ok(("comm", 8, 16, Array)));
    check_line("field:char r[TASK_COMM_LEN]; offset:8; size:16; signed:0;", Ok(("r", 8, 16, Array)));
    check_line("field:__data_loc char[] c; offset:8; size:4; signed:0;", Ok(("c", 8, 4, DataLoc)));
    check_line("field:int last; offset:8188; size:4; signed:0;", Ok(("last", 8188, 4, Plain)));
}

#[test]
fn bad_field_lines_are_refused() {
    for line in [
        "field:int pid;",
        "field:int pid; offset:8;",
        "field:int pid; offset:8; size:4;",
        "field:int pid; size:4; offset:8; signed:0;",
        "field:int pid; offset:-8; size:4; signed:0;",
        "field:int pid; offset:8; size:four; signed:0;",
        "field:int pid; offset:; size:; signed:;",
        "field:int pid; offset:8189; size:4; signed:0;",
        "field:int pid; offset:65544; size:4; signed:0;",
        "field:int pid; offset:4294967295; size:4; signed:0;",
        "field:int pid; offset:99999999999999999999; size:4; signed:0;",
        "field:pid; offset:8; size:4; signed:0;",
        "field:; offset:8; size:4; signed:0;",
        "field:int [16]; offset:8; size:4; signed:0;",
        "field:char * ; offset:8; size:4; signed:0;",
    ] {
        check_line(line, Err(4));
    }
}

#[test]
fn files_that_are_none() {
    for text in ["", "name: x\n", "ID: x\n", "ID: -1\n", "ID: 99999999999\n", "\0\0\0", "ID\n7\n"] {
        assert_eq!(Format::parse(text), Err(FormatError::NoId), "{text:?}");
    }
    let many = format!("{HEAD}{}", "field:int a; offset:8; size:4; signed:0;\n".repeat(MAX_FIELDS + 1));
    assert_eq!(Format::parse(&many), Err(FormatError::TooManyFields));
}

#[test]
fn a_file_cut_anywhere_gives_an_error_or_fewer_fields_but_no_panic() {
    let path = "/src/ebpf/testdata/6.18/block/block_rq_issue/format";
    let text = std::fs::read_to_string(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).expect(path);
    let whole = Format::parse(&text).expect(path).fields.len();
    for end in 0..text.len() {
        if let Ok(format) = Format::parse(&text[..end]) {
            assert!(format.fields.len() <= whole);
        }
    }
}
