//! Times of a week, as maintenance windows name them: `Sun 02:00-04:00`, `Mon-Fri 22:00-06:00`,
//! `Sat,Sun 00:00-24:00`, `daily 03:00-03:30`.

/// A span of hours on some days of the week, in the host's local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Days on which it begins, Monday first.
    pub days: [bool; 7],
    /// Minute of the day at which it begins.
    pub from_min: u16,
    /// Minute of the day at which it ends; before `from_min`: on the next day.
    pub to_min: u16,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Schedule {
    /// Reads one. The error completes «`key` …».
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((days, hours)) = text.trim().split_once(char::is_whitespace) else {
            return Err("does not name days and hours.".to_owned());
        };
        let Some((from, to)) = hours.trim().split_once('-') else {
            return Err("does not say until when.".to_owned());
        };
        let (from_min, to_min) = (minute(from)?, minute(to)?);
        if from_min == to_min {
            return Err("ends when it begins; a whole day is 00:00-24:00.".to_owned());
        }
        Ok(Self { days: parse_days(days)?, from_min, to_min })
    }

    /// Minutes until it ends, on a day of the week (Monday is 0) at a minute of it; `None` while it is not open.
    pub fn left_min(&self, day: usize, minute: u16) -> Option<u16> {
        const DAY: u16 = 24 * 60;
        let (today, yesterday) = (self.days[day % 7], self.days[(day + 6) % 7]);
        let over_night = self.to_min < self.from_min;
        match (minute >= self.from_min, minute < self.to_min) {
            (true, true) if today => Some(self.to_min - minute),
            (true, false) if over_night && today => Some(DAY - minute + self.to_min),
            (_, true) if over_night && yesterday => Some(self.to_min - minute),
            _ => None,
        }
    }
}

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    let mut out = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7;
        (first..=first + count).for_each(|day| out[day % 7] = true);
    }
    Ok(out)
}

fn day(text: &str) -> Result<usize, String> {
    let known = DAYS.iter().position(|day| text.eq_ignore_ascii_case(day));
    known.ok_or_else(|| "names a day that is none of Mon, Tue, Wed, Thu, Fri, Sat, Sun.".to_owned())
}

fn minute(text: &str) -> Result<u16, String> {
    let bad = || "has a time that is not HH:MM.".to_owned();
    let (hour, minute) = text.trim().split_once(':').ok_or_else(bad)?;
    match (hour.parse::<u16>(), minute.parse::<u16>()) {
        (Ok(24), Ok(0)) => Ok(24 * 60),
        (Ok(hour @ 0..24), Ok(minute @ 0..60)) => Ok(hour * 60 + minute),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_or_not() {
        fn check(text: &str, day: usize, time: &str, expect: Option<u16>) {
            let schedule = Schedule::parse(text).expect("a schedule");
            let at = minute(time).expect("a time");
            assert_eq!(schedule.left_min(day, at), expect, "{text:?} {day} {time}");
        }
        check("Sun 02:00-04:00", 6, "02:00", Some(120));
        check("Sun 02:00-04:00", 6, "03:59", Some(1));
        check("Sun 02:00-04:00", 6, "04:00", None);
        check("Sun 02:00-04:00", 0, "03:00", None);
        check("Mon-Fri 22:00-06:00", 4, "23:00", Some(420));
        check("Mon-Fri 22:00-06:00", 5, "05:59", Some(1));
        check("Mon-Fri 22:00-06:00", 5, "22:00", None);
        check("Mon-Fri 22:00-06:00", 0, "05:00", None);
        check("Sun 22:00-06:00", 0, "00:00", Some(360));
        check("daily 00:00-24:00", 3, "23:59", Some(1));
    }

    #[test]
    fn schedules_are_read_or_refused() {
        fn check(text: &str, expect: &str) {
            let shown = Schedule::parse(text).map_or_else(
                |why| why,
                |s| {
                    let days: String = s.days.iter().map(|&on| if on { 'x' } else { '.' }).collect();
                    format!("{days} {}-{}", s.from_min, s.to_min)
                },
            );
            assert_eq!(shown, expect, "{text:?}");
        }
        check("Sun 02:00-04:00", "......x 120-240");
        check("mon-fri 22:00-06:00", "xxxxx.. 1320-360");
        check("Sat-Mon 00:00-24:00", "x....xx 0-1440");
        check("Mon,Wed 1:05-2:00", "x.x.... 65-120");
        check("daily 03:00-03:30", "xxxxxxx 180-210");
        check("", "does not name days and hours.");
        check("Sun", "does not name days and hours.");
        check("Sun 02:00", "does not say until when.");
        check("Sunday 02:00-04:00", "names a day that is none of Mon, Tue, Wed, Thu, Fri, Sat, Sun.");
        check("Sun, 02:00-04:00", "names a day that is none of Mon, Tue, Wed, Thu, Fri, Sat, Sun.");
        check("Sun 25:00-26:00", "has a time that is not HH:MM.");
        check("Sun 02:60-04:00", "has a time that is not HH:MM.");
        check("Sun 04:00-04:00", "ends when it begins; a whole day is 00:00-24:00.");
        check("Sun 24:01-04:00", "has a time that is not HH:MM.");
        check("Sun -1:00-04:00", "has a time that is not HH:MM.");
        check("Sun 99999999999:00-04:00", "has a time that is not HH:MM.");
    }
}
