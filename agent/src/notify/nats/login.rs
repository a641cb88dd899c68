//! What a server wants to know before it lets anybody in, as the configuration has it.

use crate::config::Config;
use crate::host::state;
use async_nats::{ConnectOptions, ServerAddr};
use secrecy::{ExposeSecret, SecretString};

/// Who the agent is to the server. All that are given are shown; the server takes what it asks for.
pub(super) struct Login {
    credentials: Option<SecretString>,
    nkey: Option<SecretString>,
    token: SecretString,
    user: String,
    password: SecretString,
}

impl Login {
    /// Reads the file of credentials; takes user and password out of the addresses, since those reach logs.
    pub(super) fn of(config: &Config) -> Result<(Self, Vec<ServerAddr>), String> {
        let section = &config.nats;
        let mut login = Self {
            credentials: None,
            nkey: None,
            token: section.token.clone(),
            user: section.user.clone(),
            password: section.password.clone(),
        };
        let path = &section.credential_file;
        if !path.as_os_str().is_empty() {
            let text = state::read_user_file(path).map_err(|error| {
                format!("nats.credential_file {} cannot be read: {error}", path.display())
            })?;
            let text = text.trim();
            // A seed of a user begins so (nkeys: prefix byte of a seed, then that of a user).
            if text.starts_with("SU") {
                login.nkey = Some(text.to_owned().into());
            } else {
                // The library wants a line break behind the last line.
                login.credentials = Some(format!("{text}\n").into());
            }
        }
        let urls = if section.urls.is_empty() { std::slice::from_ref(&section.url) } else { &section.urls };
        let mut named = Vec::new();
        let servers =
            urls.iter().map(|url| bare(url.expose_secret(), &mut named)).collect::<Result<_, _>>()?;
        named.dedup();
        match named.as_slice() {
            [] => {}
            // As in every client of NATS: a name without a password is a token.
            [(token, None)] => login.token = token.clone().into(),
            [(user, Some(password))] => {
                (login.user, login.password) = (user.clone(), password.clone().into());
            }
            _ => {
                return Err("nats: the urls name different users; use nats.user and nats.password".to_owned());
            }
        }
        Ok((login, servers))
    }

    /// Adds it to the options of a connection.
    pub(super) fn add_to(&self, mut options: ConnectOptions) -> Result<ConnectOptions, String> {
        if let Some(credentials) = &self.credentials {
            options = options.credentials(credentials.expose_secret()).map_err(|_| {
                "nats.credential_file is neither a file of credentials (JWT and NKey) nor the seed of an NKey"
                    .to_owned()
            })?;
        }
        if let Some(seed) = &self.nkey {
            options = options.nkey(seed.expose_secret().to_owned());
        }
        if !self.token.expose_secret().is_empty() {
            options = options.token(self.token.expose_secret().to_owned());
        }
        if !self.user.is_empty() {
            options = options.user_and_password(self.user.clone(), self.password.expose_secret().to_owned());
        }
        Ok(options)
    }

    /// Texts that must not be shown.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let files = self.credentials.iter().chain(&self.nkey);
        [&self.token, &self.password].into_iter().chain(files).map(ExposeSecret::expose_secret)
    }
}

/// An address without user and password, which are added to `named`. The library prints addresses as they are.
fn bare(url: &str, named: &mut Vec<(String, Option<String>)>) -> Result<ServerAddr, String> {
    // An error of the parser could quote the address, and a password in it.
    let wrong = || "nats: a url is not the address of a server".to_owned();
    let address: ServerAddr = url.parse().map_err(|_| wrong())?;
    let Some(user) = address.username() else { return Ok(address) };
    named.push((user.to_owned(), address.password().map(str::to_owned)));
    let (scheme, host, port) = (address.scheme(), address.host(), address.port());
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    format!("{scheme}://{host}:{port}").parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_keeps_a_secret() {
        let check = |urls: &[&str], expect: Option<(&str, &str, &str)>, first: &str| {
            let mut config = Config::default();
            config.nats.urls = urls.iter().map(|url| (*url).to_owned().into()).collect();
            let made = Login::of(&config);
            let seen = made.as_ref().ok().map(|(login, _)| {
                (login.user.as_str(), login.password.expose_secret(), login.token.expose_secret())
            });
            assert_eq!(seen, expect, "{urls:?}");
            if let Ok((_, servers)) = made {
                let shown = format!("{servers:?}");
                assert!(!shown.contains("s3cret"), "{shown}");
                let server: ServerAddr = first.parse().unwrap();
                assert_eq!(servers[0], server);
            }
        };
        check(&["nats://n1:4222"], Some(("", "", "")), "nats://n1:4222");
        check(&["nats://u:s3cret@n1", "nats://n2"], Some(("u", "s3cret", "")), "nats://n1:4222");
        check(&["tls://u:s3cret@n1:1", "tls://u:s3cret@n2"], Some(("u", "s3cret", "")), "tls://n1:1");
        check(&["nats://s3cret@[::1]:5"], Some(("", "", "s3cret")), "nats://[::1]:5");
        check(&["nats://u:s3cret@n1", "nats://v:s3cret@n2"], None, "");
        check(&["nats://[", "n"], None, "");
    }

    #[test]
    fn a_file_is_credentials_or_a_seed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("creds");
        let check = |content: &str, expect: Result<(), &str>| {
            state::replace(&path, content.as_bytes(), 0o600).unwrap();
            let mut config = Config::default();
            config.nats.url = "nats://n1".to_owned().into();
            config.nats.credential_file.clone_from(&path);
            let made =
                Login::of(&config).and_then(|(login, _)| login.add_to(ConnectOptions::new()).map(drop));
            match expect {
                Ok(()) => assert_eq!(made, Ok(()), "{content}"),
                Err(why) => assert!(made.as_ref().is_err_and(|e| e.contains(why)), "{made:?}"),
            }
        };
        check("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n", Ok(()));
        let creds = "-----BEGIN NATS USER JWT-----\neyJ0eXAi.x.y\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n\
                     SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n------END USER NKEY SEED------";
        check(creds, Ok(()));
        check(&format!("\n{creds}\n\n"), Ok(()));
        check("rubbish with s3cret", Err("neither a file of credentials"));
        check("", Err("neither a file of credentials"));
    }
}
