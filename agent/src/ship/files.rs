//! The followed files: which they are, what became of them, and their next lines. Waits for disks: called aside.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use super::lines::{self, Changed};
use super::places::{MAX_PLACES, Places};
use super::view::View;
use crate::config::Config;
use crate::host::tail::find::{Found, find, fits};
use crate::host::tail::{Counts, Resume, Step, Tail, Terms, born_ns, id_of};

/// Files followed at once.
pub const MAX_FILES: usize = 128;
/// Places kept of files that are not there; beyond that the one that was written longest ago is forgotten.
const MAX_AWAY: usize = MAX_PLACES - MAX_FILES;
/// What makes a file readable.
pub const REMEDY: &str = "give the agent's user the group that owns it (adm, syslog), or CAP_DAC_READ_SEARCH";

/// All of them.
#[derive(Debug)]
pub struct Files {
    patterns: Vec<PathBuf>,
    /// Of a file seen for the first time.
    from_start: bool,
    tails: Vec<Followed>,
    /// Places in files that are not there.
    away: BTreeMap<PathBuf, Resume>,
    /// When an earlier run wrote its places, Unix time, nanoseconds: a file made after that is news.
    last_run_ns: Option<i64>,
    looked: bool,
    found: Found,
    /// Whose turn it is.
    next: usize,
    changed: Changed,
    /// Counts of tails that are gone.
    gone: Counts,
    told: Told,
}

#[derive(Debug)]
struct Followed {
    tail: Tail,
    /// Where the server has taken everything before.
    taken: Option<Resume>,
    /// There may be something to read.
    dirty: bool,
    /// What is wrong with it.
    error: Option<String>,
}

/// What was said already.
#[derive(Debug, Default)]
struct Told {
    left_out: bool,
    lost_bytes: u64,
}

/// What to wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Files.
    pub files: Vec<WatchedFile>,
    /// Folders.
    pub folders: Vec<PathBuf>,
}

/// One of them. A descriptor that is used again is another file's: device and inode tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchedFile {
    /// Its descriptor.
    pub fd: RawFd,
    /// Device and inode.
    pub id: (u64, u64),
    /// Number of its log.
    pub log: usize,
}

impl Files {
    /// Those of `[log_shipper]`, from where an earlier run stopped.
    pub fn new(config: &Config, earlier: Option<Places>) -> Self {
        let last_run_ns = earlier.as_ref().map(|places| places.at_ns);
        let places = earlier.unwrap_or_default();
        if places.torn > 0 {
            tracing::warn!(
                "{} places of the log shipper are damaged; their files are read as if never seen before",
                places.torn
            );
        }
        Self {
            patterns: paths(config),
            from_start: config.log_shipper.from_start,
            tails: Vec::new(),
            away: places.files.into_iter().collect(),
            last_run_ns,
            looked: false,
            found: Found::default(),
            next: 0,
            changed: Changed::default(),
            gone: Counts::default(),
            told: Told::default(),
        }
    }

    /// Looks which files there are and what became of them.
    pub fn look(&mut self) {
        let is_known = |path: &Path| self.follows(path) || self.away.contains_key(path);
        self.found = find(&self.patterns, MAX_FILES, &is_known);
        self.forget_gone();
        if !self.looked {
            self.return_to_away();
        }
        let new: Vec<PathBuf> = self.found.files.iter().filter(|path| !self.follows(path)).cloned().collect();
        for path in new {
            self.follow(path);
        }
        self.looked = true;
        for followed in &mut self.tails {
            let looked = followed.tail.look();
            followed.judge(looked.map(|_| ()).err());
            followed.dirty |= followed.tail.unread() > 0;
        }
        self.say();
    }

    fn follows(&self, path: &Path) -> bool {
        self.tails.iter().any(|followed| followed.tail.path() == path)
    }

    fn follow(&mut self, path: PathBuf) {
        // Another name of one that is followed: rotated, linked.
        if id_of(&path).is_some_and(|id| self.tails.iter().any(|followed| followed.tail.has(id))) {
            return;
        }
        if self.tails.len() >= MAX_FILES {
            self.found.left_out += 1;
            return;
        }
        let resume = self.away.remove(&path);
        let is_news = self.looked
            || self.last_run_ns.is_some_and(|last| born_ns(&path).is_some_and(|born| born > last));
        let terms = Terms { from_start: self.from_start || is_news, backlog: u64::MAX, split: true };
        let tail = Tail::on(path, terms, resume);
        let mut followed = Followed { tail, taken: resume, dirty: true, error: None };
        // Open at once: another name of it is known for one.
        let looked = followed.tail.look();
        followed.judge(looked.err());
        self.tails.push(followed);
    }

    /// Logs of an earlier run that have no file at their path now may have one beside it.
    fn return_to_away(&mut self) {
        let wanted = |path: &&PathBuf| self.patterns.iter().any(|pattern| fits(path, pattern));
        let is_gone = |path: &&PathBuf| !self.found.files.contains(*path);
        let away: Vec<PathBuf> = self.away.keys().filter(wanted).filter(is_gone).cloned().collect();
        for path in away {
            let resume = self.away.get(&path).copied();
            self.follow(path.clone());
            // Nothing is left of it: it takes no place of those that are there, and may come back.
            let is_it = |followed: &Followed| *followed.tail.path() == *path && !followed.tail.is_open();
            if let Some(at) = self.tails.iter().position(is_it) {
                self.tails.remove(at);
                self.away.extend(resume.map(|resume| (path, resume)));
            }
        }
    }

    /// Keeps the place in a file that is not there.
    fn put_away(&mut self, path: PathBuf, resume: Resume) {
        self.away.insert(path, resume);
        let written = |(_, seen): &Resume| seen.map_or(i64::MIN, |seen| seen.mtime_ns);
        while self.away.len() > MAX_AWAY {
            let Some(oldest) = self.away.iter().min_by_key(|(_, resume)| written(resume)) else { return };
            let oldest = oldest.0.clone();
            self.away.remove(&oldest);
        }
    }

    /// A file that no pattern finds any more is left once it is read; its place is kept for its return.
    fn forget_gone(&mut self) {
        let found = &self.found.files;
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tails)
            .into_iter()
            .partition(|followed| found.contains(followed.tail.path()) || followed.tail.is_open());
        self.tails = stay;
        for Followed { tail, taken, .. } in go {
            add(&mut self.gone, &tail.counts);
            if let Some(resume) = taken {
                self.put_away(tail.path().to_owned(), resume);
            }
        }
    }

    /// Something was written to a log; none: to any.
    pub fn written(&mut self, log: Option<usize>) {
        match log {
            Some(log) => self.tails.get_mut(log).into_iter().for_each(|followed| followed.dirty = true),
            None => self.tails.iter_mut().for_each(|followed| followed.dirty = true),
        }
    }

    /// Whether there may be something to read.
    pub fn is_dirty(&self) -> bool {
        self.tails.iter().any(|followed| followed.dirty)
    }

    /// Reads until there are `enough` lines or bytes, each log in its turn.
    pub fn read(&mut self, enough: usize, enough_bytes: usize) -> Vec<String> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        let Self { tails, next, changed, .. } = self;
        for _ in 0..tails.len() {
            *next = (*next + 1) % tails.len();
            let followed = &mut tails[*next];
            if !followed.dirty {
                continue;
            }
            let mut each = |line: String| {
                bytes += line.len();
                out.push(line);
            };
            let step = followed.tail.step(&mut |block| lines::take(block, &mut each, changed));
            followed.tail.rest();
            followed.dirty = matches!(step, Ok(Step::More));
            followed.judge(step.err());
            if out.len() >= enough || bytes >= enough_bytes {
                break;
            }
        }
        out
    }

    /// Everything that was read is taken.
    pub fn taken(&mut self) {
        self.tails.iter_mut().for_each(|followed| followed.taken = followed.tail.resume_at());
    }

    /// Where the next run is to go on, and what is seen there now: what is gone by then is known to be lost.
    pub fn places(&self) -> Vec<(PathBuf, Resume)> {
        let followed = self.tails.iter().filter_map(|f| {
            let (mark, seen) = f.taken?;
            Some((f.tail.path().to_owned(), (mark, f.tail.seen(mark.inode).or(seen))))
        });
        followed.chain(self.away.iter().map(|(path, resume)| (path.clone(), *resume))).collect()
    }

    /// What to wait for.
    pub fn watched(&self) -> Watched {
        let files = self.tails.iter().enumerate();
        let files = files
            .flat_map(|(log, f)| f.tail.descriptors().map(move |(fd, id)| WatchedFile { fd, id, log }))
            .collect();
        Watched { files, folders: self.found.folders.iter().cloned().collect() }
    }

    /// How it stands.
    pub fn view(&self, view: &mut View) {
        let mut counts = self.gone;
        self.tails.iter().for_each(|followed| add(&mut counts, &followed.tail.counts));
        view.files = self.tails.len() as u64;
        view.left_out = self.found.left_out;
        view.unreadable = self.tails.iter().filter(|followed| followed.error.is_some()).count() as u64;
        view.unread_bytes = self.tails.iter().map(|followed| followed.tail.unread()).sum();
        view.rotations = counts.rotations;
        view.lost_bytes = counts.lost_bytes;
        view.split = counts.too_long + self.changed.split;
        view.not_utf8 = self.changed.not_utf8;
    }

    /// Says what is new of limits and losses.
    fn say(&mut self) {
        let left_out = self.found.left_out;
        if left_out > 0 && !self.told.left_out {
            tracing::warn!(
                "{left_out} files of log_shipper.files are left out: {MAX_FILES} are followed at most. Name fewer, or \
                 narrower patterns"
            );
        }
        self.told.left_out = left_out > 0;
        let lost: u64 =
            self.tails.iter().map(|f| f.tail.counts.lost_bytes).sum::<u64>() + self.gone.lost_bytes;
        if lost > self.told.lost_bytes {
            tracing::warn!(
                "at least {} bytes of log files were cut or deleted before the server took them ({lost} in all)",
                lost - self.told.lost_bytes
            );
        }
        self.told.lost_bytes = lost;
    }
}

impl Followed {
    /// Said once, until something else is wrong.
    fn judge(&mut self, error: Option<std::io::Error>) {
        let error = error.map(|error| error.to_string());
        if let Some(why) = error.as_ref().filter(|why| self.error.as_ref() != Some(*why)) {
            let path = crate::text::clean(&self.tail.path().to_string_lossy(), 400);
            tracing::warn!("{path} cannot be shipped: {why}; {REMEDY}. It is tried again");
        }
        self.error = error;
    }
}

/// Paths and patterns as they are on this host.
pub fn paths(config: &Config) -> Vec<PathBuf> {
    let root = &config.agent.host_root;
    let real =
        |path: &PathBuf| path.strip_prefix("/").map_or_else(|_| path.clone(), |below| root.join(below));
    config.log_shipper.files.iter().map(real).collect()
}

fn add(to: &mut Counts, from: &Counts) {
    to.too_long += from.too_long;
    to.skipped_bytes += from.skipped_bytes;
    to.rotations += from.rotations;
    to.lost_bytes += from.lost_bytes;
}
