//! The agent's own small files: written so that a crash leaves the old content or the new, never half.

#![expect(clippy::disallowed_methods, reason = "the one owner of the agent's own small files")]

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Largest own file read back, bytes.
const MAX_STATE: u64 = 1 << 20;

/// Content of an own file; `None` when there is none.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_STATE).read_to_end(&mut content).map(|_| Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error tells of this moment and not of the file: nothing may be given up for it.
pub fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const PASSING: [Errno; 6] =
        [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN, Errno::STALE];
    let number = error.raw_os_error();
    PASSING.iter().any(|passing| number == Some(passing.raw_os_error()))
}

/// Whether there is such a file, readable or not.
pub fn is_there(path: &Path) -> bool {
    !matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Replaces an own file: temporary file, sync, rename. Mode `mode`. What cannot be written whole leaves nothing behind.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_with(path, mode, |file| file.write_all(content))
}

/// The same for what is written piece by piece, so that it is never in memory as a whole.
pub fn replace_with(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = BufWriter::new(options.open(&temporary)?);
    let written = write(&mut file).and_then(|()| file.flush()).and_then(|()| file.get_ref().sync_data());
    let replaced = written.and_then(|()| std::fs::rename(&temporary, path));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    replaced
}

/// Replaces a file of the user's, which keeps its owner, group and mode; a link stays one. Where that cannot be done in
/// such a way that a crash leaves the old content or the new, it is not done.
pub fn rewrite(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let path = path.canonicalize()?;
    let old = std::fs::metadata(&path)?;
    if old.nlink() > 1 {
        return Err(io::Error::other("it has several names"));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".sysops-agent.tmp");
    let aside = path.with_file_name(name);
    let write = || -> io::Result<()> {
        // To its owner alone as long as it is not the owner's.
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(content)?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())?;
        file.sync_data()?;
        std::fs::rename(&aside, &path)
    };
    let written = write();
    // One that was there before is somebody else's.
    if written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        let _ = std::fs::remove_file(&aside);
    }
    written
}

/// Puts an own file that cannot be used aside, beside its place; returns its new name.
pub fn set_aside(path: &Path) -> io::Result<std::path::PathBuf> {
    let aside = path.with_extension("bad");
    std::fs::rename(path, &aside).map(|()| aside)
}

/// Removes an own file if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes sure that a directory for own files exists and can be written to. A new one gets mode 0750.
pub fn usable_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if !path.is_dir() {
        std::fs::DirBuilder::new().recursive(true).mode(0o750).create(path)?;
    }
    let probe = path.join(".writable");
    // Of a full filesystem an empty file says nothing.
    replace(&probe, &[0; 4096], 0o600)?;
    remove(&probe)
}

/// Mode of a file the user named.
pub fn mode(path: &Path) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|meta| meta.mode())
}

/// Sets the mode of an own file.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Opens a file to append to (the log), mode 0640.
pub fn append_to(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Reads a text file the user named (the configuration). Not UTF-8 is an error.
pub fn read_user_file(path: &Path) -> io::Result<String> {
    const MAX_USER_FILE: u64 = 4 << 20;
    let mut text = String::new();
    let file = File::open(path)?;
    let read = file.take(MAX_USER_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_USER_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(text)
}

/// Why a file or directory in the data directory cannot be used, and what to do: `what` is a verb.
pub fn trouble(what: &str, path: &Path, error: &io::Error) -> String {
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; give the agent's user the directory: chown -R, or set agent.data_dir"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free space on that filesystem",
        io::ErrorKind::ReadOnlyFilesystem => "; mount it writable or set agent.data_dir",
        _ => "",
    };
    format!("cannot {what} {}: {error}{help}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_users_stays_the_users() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&real, "one").expect("written");
        set_mode(&real, 0o640).expect("set");
        std::os::unix::fs::symlink("real", &link).expect("linked");
        // As root the owner is somebody else's, too.
        let other = rustix::process::geteuid().is_root().then_some(12_345);
        std::os::unix::fs::chown(&real, other, other).expect("given away");
        let before = std::fs::metadata(&real).expect("there");
        rewrite(&link, b"two").expect("rewritten");
        let after = std::fs::metadata(&real).expect("there");
        let traits = |meta: &std::fs::Metadata| (meta.mode(), meta.uid(), meta.gid());
        assert_eq!((traits(&after), std::fs::read(&real).expect("read")), (traits(&before), b"two".to_vec()));
        assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
        std::fs::hard_link(&real, dir.path().join("second")).expect("linked");
        assert!(rewrite(&real, b"three").is_err() && rewrite(&dir.path().join("none"), b"").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 3, "nothing is left behind");
    }

    #[test]
    fn replaces_reads_and_removes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("deep/state");
        assert!(replace(&path, b"x", 0o600).is_err(), "no directory yet");
        usable_dir(&dir.path().join("deep")).expect("made");
        assert_eq!(read(&path).expect("readable"), None);
        replace(&path, b"one", 0o600).expect("written");
        replace(&path, b"two", 0o600).expect("written");
        assert_eq!(read(&path).expect("readable").as_deref(), Some(&b"two"[..]));
        remove(&path).expect("removed");
        remove(&path).expect("removing nothing is fine");
        assert_eq!(std::fs::read_dir(dir.path().join("deep")).expect("a directory").count(), 0);
    }
}
