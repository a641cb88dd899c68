//! One address: who may connect, for how long, and what is answered.
//!
//! A client that is slow, silent or hostile costs itself: it holds one of [`MAX_CONNECTIONS`] for at most [`WHOLE`], on a
//! thread that has nothing else to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::accept::Format;
use super::press::Wish;
use super::{Ask, Endpoint};
use crate::host::clock;
use crate::sample::newest::Newest;
use crate::time::SECOND;

/// Connections at once to one address; further ones are closed.
pub const MAX_CONNECTIONS: usize = 64;
/// Longest a client may take for the head of its request.
const HEAD: Duration = Duration::from_secs(5);
/// Longest life of a connection: one request, its answer, and a client that does not read it.
const WHOLE: Duration = Duration::from_secs(15);
/// Bytes of a request's head, and its lines.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 64;
/// Longest wait for the agent's status.
const STATUS: Duration = Duration::from_secs(6);
/// How often it is said that clients are turned away.
const TELL: Duration = Duration::from_mins(10);
/// How often an address that cannot be had is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What answers are made of.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) newest: watch::Receiver<Arc<Newest>>,
    pub(super) press: mpsc::Sender<Wish>,
    pub(super) asks: mpsc::Sender<Ask>,
    /// Connections that were closed because there were too many.
    pub(super) turned_away: Arc<AtomicU64>,
}

impl Desk {
    /// Counts one, and says so now and then.
    fn turn_away(&self, told_ns: &mut Option<u64>) {
        let all = self.turned_away.fetch_add(1, Ordering::Relaxed) + 1;
        let now_ns = clock::now().mono_ns;
        if told_ns.is_some_and(|at| now_ns.saturating_sub(at) < TELL.as_nanos() as u64) {
            return;
        }
        *told_ns = Some(now_ns);
        tracing::warn!(
            "{MAX_CONNECTIONS} clients are connected to {}; further ones are turned away at once, {all} since the start \
             (agent_endpoint_turned_away_total). See who asks so often, or holds connections open.",
            self.endpoint.bind
        );
    }
}

/// Serves one address for ever.
pub(super) async fn serve(desk: Desk) {
    let listener = listen(desk.endpoint.bind).await;
    let paths: Vec<&str> = desk.endpoint.pages.iter().map(|(path, _)| path.as_str()).collect();
    tracing::info!("listening on http://{}{}", desk.endpoint.bind, paths.join(" and "));
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/status", get(status))
        .fallback(page)
        .layer(from_fn_with_state(desk.clone(), admit))
        .with_state(desk.clone());
    let (mut connections, mut told_ns) = (JoinSet::new(), None);
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(converse(stream, router.clone()));
                }
                // Closed at once: who is not served is not kept waiting.
                Ok(_) => desk.turn_away(&mut told_ns),
                // Too many open files: the asker's loss only.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

/// Waits until the address can be had.
async fn listen(bind: SocketAddr) -> TcpListener {
    let mut told = None;
    loop {
        match TcpListener::bind(bind).await {
            Ok(listener) => return listener,
            Err(error) => {
                let problem = super::refused(bind, &error);
                if told.as_ref() != Some(&problem) {
                    tracing::warn!(
                        "{problem} It is tried again every {} s; all else goes on.",
                        RETRY.as_secs()
                    );
                    told = Some(problem);
                }
                sleep(RETRY).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router) {
    // One answer, one packet train: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Whatever went wrong, it was this client's.
    let _ = timeout(WHOLE, connection).await;
}

/// Method and key, before anything else.
async fn admit(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let key = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let mut answer = if !desk.endpoint.keys.admit(key) {
        let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
        (StatusCode::UNAUTHORIZED, ask, "a key is needed: Authorization: Bearer KEY\n").into_response()
    } else if request.method() == Method::GET || request.method() == Method::HEAD {
        next.run(request).await
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "nothing is taken here\n")
            .into_response()
    };
    let fixed = [
        (header::SERVER, super::SERVER),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    answer.headers_mut().extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}

/// The page of metrics, on its path.
async fn page(State(desk): State<Desk>, request: Request) -> Response {
    let Some(default) = desk.endpoint.format_of(request.uri().path()) else {
        return (StatusCode::NOT_FOUND, desk.endpoint.directory()).into_response();
    };
    let format = Format::wanted(&accept(request.headers()), default);
    let (done, printed) = oneshot::channel();
    if desk.press.send(Wish { format, done }).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match printed.await {
        Ok(bytes) => {
            let kind = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")];
            (kind, Body::from(bytes)).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Several lines are one list.
fn accept(headers: &HeaderMap) -> String {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lines.collect::<Vec<_>>().join(",")
}

/// Whether readings go through the engine. A socket that answers says nothing about that.
async fn healthz(State(desk): State<Desk>) -> Response {
    let at = desk.newest.borrow().at();
    let age_secs = clock::now().since(at) / SECOND;
    let patience = desk.endpoint.patience_secs;
    if at.mono_ns == 0 {
        (StatusCode::SERVICE_UNAVAILABLE, "no reading has gone through the engine yet\n").into_response()
    } else if age_secs > patience {
        let sentence = format!(
            "the last reading went through the engine {age_secs} s ago, more than {patience} s; see the agent's log\n"
        );
        (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response()
    } else {
        format!("ok: the last reading went through the engine {age_secs} s ago\n").into_response()
    }
}

/// What `sysops-agent status --json` says.
async fn status(State(desk): State<Desk>) -> Response {
    let (done, answer) = oneshot::channel();
    let asked = async {
        desk.asks.send(Ask::Status(done)).await.ok()?;
        answer.await.ok()
    };
    match timeout(STATUS, asked).await {
        Ok(Some(Ok(text))) => ([(header::CONTENT_TYPE, Format::Json.content_type())], text).into_response(),
        Ok(Some(Err(why))) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n").into_response(),
        Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the agent has not answered; see its log\n").into_response()
        }
    }
}
