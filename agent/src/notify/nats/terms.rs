//! Who the servers are, and who the agent is to them.

use std::path::PathBuf;
use std::sync::Arc;

use async_nats::{ConnectOptions, ServerAddr};

use super::link::PATIENCE;
use super::login::Login;
use crate::config::Config;
use crate::host::state;

/// Reads the configuration again; an error is a sentence: what is still not there.
pub type Later = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Who the servers are, and who the agent is to them.
pub(super) struct Terms {
    pub(super) servers: Vec<ServerAddr>,
    pub(super) login: Login,
    ca_file: PathBuf,
}

impl Terms {
    /// Reads the credentials; connects to nothing. An error is a sentence without secrets.
    pub(super) fn of(config: &Config) -> Result<Self, String> {
        let own = &config.nats.tls_ca_file;
        let ca_file = if own.as_os_str().is_empty() { &config.alerting.ca_file } else { own };
        if !ca_file.as_os_str().is_empty() {
            // The client would not say which file it is.
            state::read_user_file(ca_file)
                .map_err(|error| format!("nats.tls_ca_file {} cannot be read: {error}", ca_file.display()))?;
        }
        let (login, servers) = Login::of(config)?;
        let terms = Self { servers, login, ca_file: ca_file.clone() };
        terms.options().map(|_| terms)
    }

    pub(super) fn options(&self) -> Result<ConnectOptions, String> {
        let options = ConnectOptions::new().name("sysops-agent").connection_timeout(PATIENCE);
        let options = self.login.add_to(options)?;
        let has_own = !self.ca_file.as_os_str().is_empty();
        Ok(if has_own { options.add_root_certificates(self.ca_file.clone()) } else { options })
    }
}

/// What to do about a server that cannot be used.
pub(super) fn advice(why: &str) -> &'static str {
    let why = why.to_lowercase();
    if why.contains("authorization") || why.contains("authentication") {
        " (check user and password, token or credential_file)"
    } else if why.contains("unknownissuer") {
        " (if an authority of your own signs its certificate, set nats.tls_ca_file)"
    } else {
        ""
    }
}
