//! What programs printed, as far as a reader here looks at it: everything else is left out, and all of a program that is not
//! named here. Pure.

use crate::host::gpu::smi;

/// What `systemctl show` tells of a unit, and is read.
const PROPERTIES: [&str; 7] =
    ["Id", "ActiveState", "Result", "NRestarts", "ExecMainCode", "ExecMainStatus", "ExecMainStartTimestamp"];
/// Units whose names are those of groups of processes as well, or are replaced wherever they stand; the others have numbers.
const NAMED: [&str; 7] = [".service", ".scope", ".slice", ".device", ".mount", ".automount", ".swap"];
/// Columns of `nvidia-smi pmon`.
const COLUMNS: [&str; 4] = ["gpu", "pid", "type", "sm"];

/// The command and what is kept of it; a number stands for the name of a unit that is not kept.
pub(super) fn kept(command: &str, text: &str, number: &dyn Fn(&str) -> usize) -> Option<(String, String)> {
    let words: Vec<&str> = command.split(' ').collect();
    let (command, lines): (&str, Vec<String>) = match words[..] {
        ["systemctl", "list-units", ..] => (command, text.lines().filter_map(|l| unit(l, number)).collect()),
        // It names the units it asks about.
        ["systemctl", "show", ..] => (
            command.split(" -- ").next()?,
            text.lines().filter(|l| is_property(l)).map(str::to_owned).collect(),
        ),
        [smi::PROGRAM, "-q", "-x"] => {
            (command, text.lines().filter(|l| smi::is_read(l)).map(str::to_owned).collect())
        }
        [smi::PROGRAM, "pmon", ..] => (command, columns(text)),
        [smi::PROGRAM, ..] => (command, text.lines().map(str::to_owned).collect()),
        _ => return None,
    };
    Some((command.to_owned(), lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()))
}

/// Name and states of a unit, without what it says it is.
fn unit(line: &str, number: &dyn Fn(&str) -> usize) -> Option<String> {
    let mut words = line.trim_start_matches(['●', '*', '○', '×', ' ']).split_whitespace();
    let (name, load, active, sub) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (_, kind) = name.rsplit_once('.')?;
    let name = if NAMED.iter().any(|kind| name.ends_with(kind)) {
        name.to_owned()
    } else {
        format!("unit{}.{kind}", number(name))
    };
    Some(format!("{name} {load} {active} {sub}"))
}

fn is_property(line: &str) -> bool {
    line.is_empty() || line.split_once('=').is_some_and(|(name, _)| PROPERTIES.contains(&name))
}

/// A table without the names of the processes.
fn columns(text: &str) -> Vec<String> {
    let mut places: Option<Vec<usize>> = None;
    let line = |line: &str| {
        let words: Vec<&str> = line.trim_start_matches('#').split_whitespace().collect();
        let place = |name: &&str| words.iter().position(|word| word == name);
        if places.is_none() && line.starts_with('#') {
            places = COLUMNS.iter().map(place).collect();
        }
        let begin = if line.starts_with('#') { "# " } else { "" };
        let kept = places.iter().flatten().filter_map(|&at| words.get(at).copied());
        begin.to_owned() + &kept.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, text: &str, expect: Option<(&str, &str)>) {
        let found = kept(command, text, &|name| name.len());
        assert_eq!(found.as_ref().map(|(c, t)| (c.as_str(), t.as_str())), expect, "{command}");
    }

    #[test]
    fn what_nobody_reads_is_left_out() {
        check(
            "systemctl list-units --all",
            "● cifs.service loaded failed failed Mount of CUSTOMER42\npayroll.timer loaded active waiting Payroll\nmnt-x.mount loaded active mounted /mnt/x\nbad\n",
            Some((
                "systemctl list-units --all",
                "cifs.service loaded failed failed\nunit13.timer loaded active waiting\nmnt-x.mount loaded active mounted\n",
            )),
        );
        check(
            "systemctl show --no-pager --property=Id -- mnt-x.mount",
            "Id=a.service\nDescription=Mount of CUSTOMER42\n\nId=b.service\n",
            Some(("systemctl show --no-pager --property=Id", "Id=a.service\n\nId=b.service\n")),
        );
        check(
            "nvidia-smi pmon -c 1 -s u",
            "# gpu  pid  type  sm  mem  command\n# Idx  #  C/G  %  %  name\n  0  12  C  95  1  payroll\n",
            Some(("nvidia-smi pmon -c 1 -s u", "# gpu pid type sm\n# Idx # C/G %\n0 12 C 95\n")),
        );
        check(
            "nvidia-smi -q -x",
            "\t<gpu id=\"00000000:07:00.0\">\n\t\t<serial>1324520012345</serial>\n\t\t<replay_counter>5</replay_counter>\n\
             \t\t\t<process_name>python3 --api-key=hunter2</process_name>\n",
            Some((
                "nvidia-smi -q -x",
                "\t<gpu id=\"00000000:07:00.0\">\n\t\t<replay_counter>5</replay_counter>\n",
            )),
        );
        check("dmidecode", "Serial: 1", None);
        check("", "", None);
    }
}
