//! Root file systems with a real systemd, made once out of Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::pool::{Pool, make};
use crate::sh;

/// What is in them beside the essential packages.
const PACKAGES: &str = "systemd-sysv,systemd-oomd,earlyoom,dbus,passwd";
/// Size of the image; it is sparse.
const SIZE: &str = "600M";
/// Longest making, seconds: some 100 MB are fetched and unpacked.
const LIMIT_SECS: &str = "480";

/// Where the image of a Debian release lies.
pub fn path(dir: &Path, suite: &str) -> PathBuf {
    dir.join("roots").join(format!("{suite}-{}.ext4", PACKAGES.replace(',', "-")))
}

/// The image of a Debian release below `dir`, made unless it is there.
pub fn image(pool: &Pool, dir: &Path, suite: &str) -> Result<PathBuf, String> {
    let (image, cache) = (path(dir, suite), dir.join("roots"));
    if image.is_file() {
        return Ok(image);
    }
    make(&cache)?;
    let mirror = pool.mirror()?;
    let (half, script) = (image.with_extension("half"), cache.join("finish.sh"));
    let fail = |e| format!("{}: {e}", cache.display());
    fs::write(&script, finish(&half)).map_err(fail)?;
    // Of its own, so that what lies in /proc and /sys of the new system stays out of the image.
    let hook = format!("--customize-hook=unshare --mount sh -e '{}' \"$1\"", script.display());
    let mut command = Command::new("timeout");
    command.args([
        "--kill-after=10",
        LIMIT_SECS,
        "mmdebstrap",
        "--quiet",
        "--format=null",
        "--variant=essential",
    ]);
    command.arg(format!("--include={PACKAGES}")).arg(hook).args([suite, "-", &mirror]);
    sh::run(&mut command).map_err(|e| format!("no root file system of {suite} out of {mirror}: {e}"))?;
    fs::rename(&half, &image).map_err(fail)?;
    Ok(image)
}

fn finish(image: &Path) -> String {
    let image = image.display();
    format!(
        r#"for dir in proc sys dev; do umount -R "$1/$dir" || :; done 2>/dev/null
rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale "$1"/var/cache/apt "$1"/var/lib/apt
rm -f '{image}'
truncate -s {SIZE} '{image}'
mke2fs -q -F -t ext4 -O ^has_journal -d "$1" '{image}'
"#
    )
}
