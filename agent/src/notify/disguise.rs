//! How passwords look on the wire: who answers may quote what it was sent, and that must not be shown either.

use data_encoding::BASE64;
use reqwest::Url;

/// The credentials that a client makes of `http://user:password@host` (RFC 7617), if there is a password.
pub(super) fn basic(url: &Url) -> Option<String> {
    let password = decoded(url.password()?);
    Some(BASE64.encode(&[&decoded(url.username())[..], b":", &password].concat()))
}

/// What a mail server is sent of them: by PLAIN (RFC 4616) and by LOGIN.
pub(super) fn mail(user: &str, password: &str) -> [String; 2] {
    [BASE64.encode(format!("\0{user}\0{password}").as_bytes()), BASE64.encode(password.as_bytes())]
}

/// Without percent signs before two hexadecimal digits.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let (byte, after) = digits
            .and_then(|two| u8::from_str_radix(two, 16).ok())
            .map_or((byte, after), |value| (value, &after[2..]));
        out.push(byte);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_known_as_they_are_sent() {
        let basic = |url: &str| basic(&Url::parse(url).expect("an address"));
        // The example of RFC 7617, section 2.
        assert_eq!(basic("http://Aladdin:open%20sesame@h/").as_deref(), Some("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(basic("http://h/"), None);
        assert_eq!(decoded("a%zz%4"), b"a%zz%4");
        assert_eq!(mail("bob", "pass"), ["AGJvYgBwYXNz", "cGFzcw=="]);
    }
}
