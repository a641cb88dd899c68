//! `cargo xtask mail-picture`: HTML mails as a browser shows them, wide, on a phone and in a dark scheme.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::{packages, sh};

/// Name of the picture, width of the mails in pixels, and whether the scheme is dark.
const VIEWS: &[(&str, u32, bool)] =
    &[("wide", 760, false), ("phone", 375, false), ("dark", 760, true), ("phone-dark", 375, true)];
/// Room for the longest mail, pixels.
const HEIGHT: u32 = 1000;
/// Mails beside each other.
const COLUMNS: usize = 3;

/// Makes the pictures and tells where they are.
pub fn run() -> Result<(), String> {
    if let Some(missing) = packages::ensure(packages::FOR_PICTURES).into_iter().next() {
        return Err(missing);
    }
    let dir = sh::target_dir().join("mail-picture");
    fs::create_dir_all(&dir).map_err(|e| format!("{} cannot be made: {e}", dir.display()))?;
    let mut pages =
        sh::cargo(&["run", "--quiet", "--package", "sysops-agent", "--example", "mail_pages", "--"]);
    sh::run(pages.arg(&dir))?;
    let count = (0..100).take_while(|n| dir.join(format!("{n}.html")).exists()).count();
    for view in VIEWS {
        picture(&dir, count, view)?;
    }
    Ok(())
}

/// All mails of a view in one picture. Each in a frame: a browser's own window has a least width.
fn picture(dir: &Path, count: usize, &(name, width, dark): &(&str, u32, bool)) -> Result<(), String> {
    let mut sheet = String::from("<!DOCTYPE html><body style=\"margin:0;font-size:0\">");
    for n in 0..count {
        // Writing to a string cannot fail.
        let _ = write!(
            sheet,
            "<iframe src=\"{n}.html\" width={width} height={HEIGHT} style=\"border:0\"></iframe>"
        );
    }
    let page = dir.join(format!("{name}.sheet"));
    let html = page.with_extension("sheet.html");
    fs::write(&html, sheet).map_err(|e| format!("{} cannot be written: {e}", html.display()))?;
    let picture = dir.join(format!("{name}.png"));
    let rows = count.div_ceil(COLUMNS) as u32;
    let mut browser =
        sh::command("chromium", &["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    browser
        .arg(format!("--window-size={},{}", width * COLUMNS as u32, HEIGHT * rows))
        .arg(format!("--screenshot={}", picture.display()));
    if dark {
        browser.arg("--blink-settings=preferredColorScheme=0");
    }
    sh::run(browser.arg(format!("file://{}", html.display())).stderr(std::process::Stdio::null()))?;
    println!("{}", picture.display());
    Ok(())
}
