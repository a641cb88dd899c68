//! Archives as the kernel takes them for its initial file system ("newc", `Documentation/driver-api/early-userspace/buffer-format.rst`).

/// One archive in the making.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

const DIR: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_666;

impl Archive {
    /// A folder; those above it come first.
    pub fn dir(&mut self, path: &str) {
        self.entry(path, DIR, (0, 0), &[]);
    }

    /// A file that everybody may read and start.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, (0, 0), content);
    }

    /// A character device.
    pub fn device(&mut self, path: &str, number: (u32, u32)) {
        self.entry(path, DEVICE, number, &[]);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        use std::io::Write as _;
        self.files += 1;
        let (ino, size, name) = (self.files, content.len(), path.len() + 1);
        let (major, minor) = device;
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let _ = write!(
            self.bytes,
            "070701{ino:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}{:08x}{:08x}{major:08x}{minor:08x}{name:08x}{:08x}",
            0, 0, 1, 0, 0, 0, 0
        );
        self.bytes.extend(path.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_made_of_aligned_entries() {
        let mut archive = Archive::default();
        archive.dir("bin");
        archive.file("bin/x", b"12345");
        archive.device("dev/null", (1, 3));
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let heads: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(heads.len(), 4);
        assert!(heads.iter().all(|at| at % 4 == 0), "{heads:?}");
        // Header of 110 bytes, name with its zero, padding, content.
        assert_eq!(&bytes[heads[1] + 116..heads[1] + 121], b"12345");
        assert_eq!(&text[heads[2] + 78..heads[2] + 94], "0000000100000003");
    }
}
