//! The key of an endpoint: compared in constant time, never shown.

use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

/// Keys of which a request must bear one; none: none is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<SecretString>);

impl Keys {
    /// Takes one in, if it is one.
    pub(super) fn add(&mut self, key: &SecretString) {
        if !key.expose_secret().is_empty() {
            self.0.push(key.clone());
        }
    }

    /// Whether a request with this `Authorization` may pass. How long that takes tells nothing but the keys' lengths.
    pub(super) fn admit(&self, authorization: Option<&[u8]>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let given = authorization.and_then(bearer).unwrap_or_default();
        let same = |key: &SecretString| key.expose_secret().as_bytes().ct_eq(given);
        let found = self.0.iter().map(same).fold(Choice::from(0), |any, same| any | same);
        found.into()
    }
}

/// `Bearer KEY`; the scheme is not case-sensitive (RFC 9110, section 11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_opens() {
        let mut keys = Keys::default();
        keys.add(&"".into());
        assert!(keys.admit(None) && keys.admit(Some(b"Bearer x")), "no key is asked for");
        keys.add(&"s3cret".into());
        keys.add(&"other".into());
        let check = |header: Option<&[u8]>, expect| assert_eq!(keys.admit(header), expect, "{header:?}");
        check(Some(b"Bearer s3cret"), true);
        check(Some(b"bearer   s3cret "), true);
        check(Some(b"Bearer other"), true);
        for bad in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer s3cre",
            b"Bearer s3cret2",
            b"Bearer S3CRET",
            b"Basic s3cret",
            b"s3cret",
            b"Bearers3cret",
            b"\xff\xfe",
            b"Bearer \xff",
        ] {
            check(Some(bad), false);
        }
        check(None, false);
        assert!(!format!("{keys:?}").contains("s3cret"));
    }
}
