//! Kernels: which package a series comes in, its image, its modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::pool::{Pool, entries, make, natural};
use crate::sh;

/// Which of Debian's builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// For virtual machines: small and quickly fetched, with virtio, `null_blk` and `scsi_debug`.
    Cloud,
    /// For everything, with drivers of real hardware (e1000, `NVMe`, EDAC …).
    Full,
}

impl Flavour {
    /// End of the package names.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Cloud => "cloud-amd64",
            Self::Full => "amd64",
        }
    }
}

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its image.
    pub image: PathBuf,
    /// Its folder of modules; none for a kernel without.
    modules: Option<PathBuf>,
    /// Package and version.
    pub package: String,
}

/// Series beyond `than` that the pool has, newest first: their names change too often to be written down.
pub fn newer(pool: &Pool, than: &str) -> Result<Vec<String>, String> {
    let names = pool.names(r"^linux-(image|binary)-[0-9].*-cloud-amd64$")?;
    let mut series: Vec<String> = names.iter().filter_map(|n| series_of(n)).collect();
    series.retain(|s| natural(s) > natural(than));
    series.sort_by_key(|s| std::cmp::Reverse(natural(s)));
    series.dedup();
    Ok(series)
}

/// `linux-binary-7.3.4+deb13-cloud-amd64` → `7.3`.
fn series_of(package: &str) -> Option<String> {
    let version = package.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = version.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    let whole = !minor.is_empty() && minor.chars().all(|c| c.is_ascii_digit());
    whole.then(|| format!("{major}.{minor}"))
}

/// The newest Debian kernel of a series, fetched unless it lies in `cache`.
pub fn debian(pool: &Pool, cache: &Path, series: &str, flavour: Flavour) -> Result<Kernel, String> {
    let suffix = flavour.suffix();
    let escaped = series.replace('.', r"\.");
    let names = pool.names(&format!(r"^linux-(image|binary)-{escaped}\.[0-9].*-{suffix}$"))?;
    // `amd64` alone also ends the names of the cloud and real-time builds.
    let other = ["-cloud-", "-rt-"];
    let fits = |n: &&String| flavour == Flavour::Cloud || !other.iter().any(|o| n.contains(o));
    // From 7.x on the image is in `linux-binary-…`, and `linux-image-…` is empty.
    let rank = |n: &&String| (n.starts_with("linux-binary-"), natural(n));
    let package = names.iter().filter(fits).max_by_key(rank);
    let package = package.ok_or_else(|| format!("the pool has no kernel {series} ({suffix})"))?;
    let mut packages = vec![package.clone()];
    if let Some(rest) = package.strip_prefix("linux-binary-") {
        packages.push(format!("linux-modules-{rest}"));
    }
    let version = pool.version(package, None)?;
    let dir = unpacked(cache, &format!("{package}_{version}"), |into| {
        packages.iter().try_for_each(|p| pool.unpack(p, &version, into))
    })?;
    let modules = ["lib/modules", "usr/lib/modules"].iter().find_map(|at| {
        let found = entries(&dir.join(at)).ok()?.into_iter().next();
        found.filter(|path| path.is_dir())
    });
    let modules = modules.ok_or_else(|| format!("{package} has no modules"))?;
    let boot = entries(&dir.join("boot")).unwrap_or_default();
    let image = boot
        .into_iter()
        .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz")))
        .unwrap_or_else(|| modules.join("vmlinuz"));
    Ok(Kernel { image, modules: Some(modules), package: format!("{package} {version}") })
}

/// User-mode Linux of this machine's own release, whose libraries it is linked with.
pub fn uml(pool: &Pool, cache: &Path) -> Result<Kernel, String> {
    const PACKAGE: &str = "user-mode-linux";
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release.lines().find_map(|l| l.strip_prefix("VERSION_CODENAME="));
    let codename = codename.ok_or("/etc/os-release names no release")?.trim_matches('"');
    let version = pool.version(PACKAGE, Some(codename))?;
    let dir = unpacked(cache, &format!("{PACKAGE}_{version}"), |into| pool.unpack(PACKAGE, &version, into))?;
    Ok(Kernel {
        image: dir.join("usr/bin/linux.uml"),
        modules: None,
        package: format!("{PACKAGE} {version}"),
    })
}

/// The folder `name`, filled once and whole or not at all.
fn unpacked(
    cache: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let (dir, half) = (cache.join(name), cache.join(format!("{name}.half")));
    if !dir.is_dir() {
        let _ = fs::remove_dir_all(&half);
        make(&half)?;
        fill(&half)?;
        fs::rename(&half, &dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    Ok(dir)
}

/// A module, ready to be loaded.
#[derive(Debug)]
pub struct Module {
    /// Its name, with `_`.
    pub name: String,
    /// The object, uncompressed.
    pub object: Vec<u8>,
    /// Modules it needs.
    pub needs: Vec<String>,
}

impl Kernel {
    /// The modules of these names and all they need; what this kernel has built in, or lacks, is left out.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<Module>, String> {
        let Some(dir) = &self.modules else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        walk(&dir.join("kernel"), &mut files)?;
        let mut wanted: Vec<String> = names.iter().map(|n| n.replace('-', "_")).collect();
        let (mut seen, mut modules) = (BTreeSet::new(), Vec::new());
        while let Some(name) = wanted.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some(file) = files.iter().find(|f| module_name(f) == name) else { continue };
            let object = read(file)?;
            let needs = needs(&object);
            wanted.extend(needs.iter().cloned());
            modules.push(Module { name, object, needs });
        }
        Ok(modules)
    }
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    for path in entries(dir)? {
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// `…/null-blk.ko.xz` → `null_blk`.
fn module_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split(".ko").next().unwrap_or_default().replace('-', "_")
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let tool = match file.extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(file).map_err(|e| format!("{}: {e}", file.display())),
    };
    let out = Command::new(tool).args(["--decompress", "--stdout", "--quiet"]).arg(file).output();
    let out = out.map_err(|e| format!("{tool} cannot be started: {e}"))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(format!("{tool} {}: {}", file.display(), out.status))
    }
}

/// The `depends=` entry of a module's `.modinfo` section: Debian's packages carry no modules.dep.
fn needs(object: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = object.windows(KEY.len()).position(|w| w == KEY) else { return Vec::new() };
    let value = object[at + KEY.len()..].split(|b| *b == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|n| !n.is_empty()).map(|n| n.replace('-', "_")).collect()
}

/// Whether this machine can start it at all.
pub fn supported() -> Result<(), String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err("the virtual machines are for x86_64 hosts".into());
    }
    if !sh::has("apt-get") || !sh::has("dpkg-deb") {
        return Err("the kernels come out of Debian's packages: this machine has no apt".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_out_of_package_names() {
        let check = |package, expect: Option<&str>| {
            assert_eq!(series_of(package).as_deref(), expect, "{package}");
        };
        check("linux-image-5.10.0-32-cloud-amd64", Some("5.10"));
        check("linux-image-6.12.107+deb13-cloud-amd64", Some("6.12"));
        check("linux-binary-7.3.4+deb13-cloud-amd64", Some("7.3"));
        check("linux-image-7.4~rc3-cloud-amd64", None);
        check("linux-image-7-cloud-amd64", None);
        check("linux-image-cloud-amd64", None);
        check("", None);
    }

    #[test]
    fn needs_of_a_module_are_in_its_information() {
        let check = |object: &[u8], expect: &[&str]| assert_eq!(needs(object), expect);
        check(b"x\0depends=virtio,virtio-ring\0intree=Y", &["virtio", "virtio_ring"]);
        check(b"x\0depends=\0intree=Y", &[]);
        check(b"x\0depends=cut", &["cut"]);
        check(b"no such thing", &[]);
        check(b"", &[]);
        assert_eq!(module_name(Path::new("a/null-blk.ko.xz")), "null_blk");
        assert_eq!(module_name(Path::new("a/ext4.ko")), "ext4");
    }
}
