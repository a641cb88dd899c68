//! The endpoints' side towards the agent: starts them, answers what they ask, and tells `doctor` how they stand.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

use super::control::Desk;
use super::features::Feature;
use super::newest::Reader;
use crate::config::Config;
use crate::host::Host;
use crate::push::object::About;

/// The thread of the endpoints, which ends after a stop, and how many connections were closed because there were too many;
/// nothing where none is on.
type Started = (Option<JoinHandle<()>>, Option<Arc<AtomicU64>>);

/// There are none in this build.
#[cfg(not(feature = "prometheus"))]
#[expect(clippy::unnecessary_wraps, reason = "as where there are some")]
pub(super) fn start(
    _: &Config,
    _: About,
    _: &dyn Host,
    _: Reader,
    _: Arc<Desk>,
    _: &CancellationToken,
) -> Result<Started, String> {
    Ok((None, None))
}

/// There are none in this build.
#[cfg(not(feature = "prometheus"))]
pub(super) fn examine(_: &Config) -> Vec<Feature> {
    Vec::new()
}

#[cfg(feature = "prometheus")]
pub(super) use serving::{examine, start};

#[cfg(feature = "prometheus")]
mod serving {
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::{About, Arc, CancellationToken, Config, Desk, Feature, Host, Reader, Started};
    use crate::host::read_text;
    use crate::serve::node_names::Facts;
    use crate::serve::prometheus::Manner;
    use crate::serve::{self, Ask, Endpoint, Source, Style};

    /// Longest wait of `doctor` for whoever listens.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Starts those that are switched on, and a task that answers what they ask; none where none is. The thread ends
    /// after a stop, and with it the task. An error is a sentence.
    pub(in crate::service) fn start(
        config: &Config,
        about: About,
        host: &dyn Host,
        newest: Reader,
        desk: Arc<Desk>,
        stop: &CancellationToken,
    ) -> Result<Started, String> {
        let endpoints = Endpoint::all(config);
        if endpoints.is_empty() {
            return Ok((None, None));
        }
        let style = style(config, about, host);
        let mut server = serve::start(endpoints, Source { newest, style }, stop.clone())
            .map_err(|e| format!("the thread of the endpoints cannot be started: {e}"))?;
        tokio::spawn(async move {
            while let Some(Ask::Status(done)) = server.asks.recv().await {
                // Who asked may have gone.
                let _ = done.send(desk.status_text().await);
            }
        });
        Ok((Some(server.thread), Some(server.turned_away)))
    }

    fn style(config: &Config, about: About, host: &dyn Host) -> Style {
        let kernel = |name: &str| {
            read_text(host, &format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned()
        };
        let facts = || {
            let uname = host.uname();
            Facts {
                page_bytes: u32::try_from(host.page_size()).unwrap_or_default(),
                domainname: kernel("domainname"),
                machine: uname.machine,
                nodename: uname.nodename,
                release: uname.release,
                version: kernel("version"),
            }
        };
        let labels = &config.agent.labels;
        let node_names = config.prometheus.node_exporter_names.then(facts);
        Style { manner: Manner::new(labels, node_names), about }
    }

    /// Whether each address can be had, or is the agent's own already.
    pub(in crate::service) fn examine(config: &Config) -> Vec<Feature> {
        Endpoint::all(config).iter().map(look).collect()
    }

    fn look(endpoint: &Endpoint) -> Feature {
        let (name, bind) = (format!("endpoint.{}", endpoint.name), endpoint.bind);
        match TcpListener::bind(bind) {
            Ok(_) => Feature::on(name, format!("{bind} is free to be listened on")),
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_ours(bind) => {
                Feature::on(name, format!("the agent answers on {bind}"))
            }
            Err(error) => Feature::broken(
                name,
                serve::refused(bind, &error),
                format!("set {}.bind; the running agent tries again every 10 s", endpoint.name),
            ),
        }
    }

    /// Whether an agent answers there.
    fn is_ours(bind: SocketAddr) -> bool {
        let here = match bind.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let asked = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(here, bind.port()), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
            let mut head = [0; 512];
            let length = stream.read(&mut head)?;
            Ok(String::from_utf8_lossy(&head[..length]).to_ascii_lowercase())
        };
        asked().is_ok_and(|head| head.contains("\r\nserver: sysops-agent/"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn doctor_tells_who_has_the_port() {
            let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
            let bind = taken.local_addr().expect("its address");
            let mut config = Config::default();
            assert_eq!(examine(&config), []);
            config.http.enabled = true;
            config.http.bind = bind.to_string();
            let check = |answer: &'static str, state: &str, reason: &str| {
                let listener = taken.try_clone().expect("a copy");
                let answering = std::thread::spawn(move || {
                    let (mut stream, _) = listener.accept().expect("a question");
                    let _ = stream.write_all(answer.as_bytes());
                });
                let feature = examine(&config).pop().expect("one");
                answering.join().expect("answered");
                assert_eq!(feature.state.name(), state, "{feature:?}");
                assert!(feature.reason.contains(reason), "{feature:?}");
            };
            check("HTTP/1.0 200 OK\r\nServer: nginx\r\n\r\n", "off", "node_exporter has port 9100");
            check("\u{7f}garbage", "off", "another program listens there");
            check("HTTP/1.0 401 No\r\nserver: sysops-agent/9\r\n\r\n", "on", "the agent answers");
            drop(taken);
            assert!(examine(&config)[0].reason.contains("free to be listened on"));
            config.http.bind = "192.0.2.1:9".into();
            assert!(examine(&config)[0].reason.contains("no such address"), "{:?}", examine(&config));
        }
    }
}
