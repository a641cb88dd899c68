//! Certificates for servers on loopback.

use std::path::PathBuf;
use std::process::Command;

/// An authority and a server's certificate, made anew.
pub(crate) struct Certificates(tempfile::TempDir);

impl Certificates {
    /// `None`, and a word why, where openssl is missing.
    pub(crate) fn make() -> Option<Self> {
        let made = Self(tempfile::tempdir().ok()?);
        let openssl = |arguments: &str| {
            let done = Command::new("openssl").args(arguments.split(' ')).current_dir(made.0.path()).output();
            done.is_ok_and(|done| done.status.success())
        };
        let good = openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority",
        ) && openssl(
            "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost",
        ) && openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -out server.pem -days 2 -copy_extensions copyall",
        ) && openssl(
            // Over as soon as it is made.
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -out expired.pem -days 0 -copy_extensions copyall",
        );
        if !good {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "skipped in CI: openssl makes no certificates"
            );
            eprintln!("SKIPPED: openssl is missing: apt-get install openssl");
        }
        good.then_some(made)
    }

    /// `ca.pem`, `server.pem`, `expired.pem` or `server.key`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
