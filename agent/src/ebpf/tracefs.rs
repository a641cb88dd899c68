//! The way to tracepoint `format` files.
//!
//! A mounted tracefs is used; where none is, and the right to mount is there, one is mounted on a
//! descriptor only, so that the host's mount table stays as it is.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::host::{Host, read_text};

/// Where tracefs is mounted: by itself, and through debugfs (kernels before 4.1, and habit).
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Largest `format` file read, bytes; real ones have 1 to 4 KB.
const MAX_FORMAT: u64 = 64 << 10;

/// Why a tracepoint cannot be looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TracefsError {
    /// Not mounted, and it could not be mounted privately.
    #[error("tracefs is not mounted at /sys/kernel/tracing ({why})")]
    NotMounted {
        /// What the private mount said.
        why: String,
    },
    /// This kernel is built without tracing.
    #[error("this kernel has no tracefs")]
    Absent,
    /// There, but empty of events.
    #[error("tracefs has no events; a kernel in lockdown (confidentiality) hides them")]
    NoEvents,
    /// May not be read.
    #[error("{path} may not be read")]
    Denied {
        /// What was refused.
        path: String,
    },
    /// The kernel does not have this tracepoint.
    #[error("this kernel has no tracepoint {category}:{event}")]
    NoTracepoint {
        /// Its category.
        category: &'static str,
        /// Its name.
        event: &'static str,
    },
    /// Reading failed otherwise.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// What was read.
        path: String,
        /// The system's words.
        error: String,
    },
}

impl TracefsError {
    /// All that is to be done about it; `besides`: what a tracepoint wants with a tracefs mounted.
    pub fn remedy(&self, besides: &[String]) -> String {
        let own = match self {
            Self::NotMounted { .. } => {
                let mount = "mount it: `mount -t tracefs tracefs /sys/kernel/tracing`".to_owned();
                return [&[mount], besides].concat().join(", and ");
            }
            Self::Denied { .. } if !besides.is_empty() => return besides.join(", and "),
            Self::Denied { .. } => "a security module or a container forbids it: allow the agent to read it",
            Self::Absent => "nothing short of another kernel (CONFIG_FTRACE, CONFIG_EVENT_TRACING)",
            Self::NoEvents => "boot without `lockdown=confidentiality`, if that is acceptable",
            Self::NoTracepoint { .. } => "nothing short of another kernel",
            Self::Read { .. } => "see the error; `ls /sys/kernel/tracing/events` as root should work",
        };
        own.to_owned()
    }
}

/// An open tracefs.
#[derive(Debug)]
pub enum Tracefs {
    /// Mounted here.
    Mounted(&'static str),
    /// Mounted nowhere but on this descriptor.
    Detached(OwnedFd),
}

impl Tracefs {
    /// Finds a mounted tracefs, or mounts one on a descriptor.
    pub fn open(host: &dyn Host) -> Result<Self, TracefsError> {
        let mut denied = None;
        for place in PLACES {
            match host.list(&format!("{place}/events"), &mut |_| ()) {
                Ok(()) => return Ok(Self::Mounted(place)),
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    denied.get_or_insert(TracefsError::Denied { path: place.to_owned() });
                }
                Err(_) => {}
            }
        }
        denied.map_or_else(Self::detached, Err)
    }

    /// The text of a tracepoint's `format` file.
    pub fn format(
        &self,
        host: &dyn Host,
        category: &'static str,
        event: &'static str,
    ) -> Result<String, TracefsError> {
        let path = format!("events/{category}/{event}/format");
        let (text, path) = match self {
            Self::Mounted(place) => {
                let path = format!("{place}/{path}");
                (read_text(host, &path), path)
            }
            Self::Detached(root) => (read_at(root, &path), path),
        };
        text.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => TracefsError::NoTracepoint { category, event },
            io::ErrorKind::PermissionDenied => TracefsError::Denied { path },
            _ => TracefsError::Read { path, error: error.to_string() },
        })
    }

    fn detached() -> Result<Self, TracefsError> {
        let root = mount_detached().map_err(|errno| match errno {
            Errno::NODEV => TracefsError::Absent,
            Errno::NOSYS => {
                TracefsError::NotMounted { why: "kernels before 5.2 cannot mount privately".into() }
            }
            Errno::PERM | Errno::ACCESS => {
                TracefsError::NotMounted { why: "mounting privately needs CAP_SYS_ADMIN".into() }
            }
            other => TracefsError::NotMounted { why: format!("mounting privately failed: {other}") },
        })?;
        match openat(&root, "events", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(_) => Ok(Self::Detached(root)),
            Err(Errno::NOENT) => Err(TracefsError::NoEvents),
            Err(error) => Err(TracefsError::Read { path: "events".into(), error: error.to_string() }),
        }
    }
}

fn mount_detached() -> Result<OwnedFd, Errno> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_RDONLY;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn read_at(root: &OwnedFd, path: &str) -> io::Result<String> {
    let file = openat(root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    std::fs::File::from(file).take(MAX_FORMAT).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
#[path = "tracefs_tests.rs"]
mod tests;
