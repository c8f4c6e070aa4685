//! HTTP as a client: to masters and volume servers. Redirects are never followed here, and no answer is longer than its reader allows.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Heads of answers that are longer are none.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Connections that wait for the next request, by server.
const IDLE_MAX: usize = 64;

/// Keeps connections and reuses them.
pub(crate) type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// An answer whose body is still to come.
pub(crate) type Answer = hyper::Response<Incoming>;

/// A client that gives up connecting after so long.
pub(crate) fn client(connect: Duration) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .build(connector)
}

/// A GET of what lies at `path` of a server.
///
/// # Errors
/// No URL can be made of it.
pub(crate) fn get(
    place: &str,
    path: &str,
    headers: &[(&'static str, String)],
) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let mut request = Request::get(format!("http://{place}{path}"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.header("user-agent", concat!("wavetank-sidecar/", env!("CARGO_PKG_VERSION"))).body(Empty::new())
}

/// An error and what it comes from, in one line.
pub(crate) fn told(why: &Error) -> String {
    let mut text = why.to_string();
    let mut cause = std::error::Error::source(why);
    while let Some(why) = cause {
        text.push_str(": ");
        text.push_str(&why.to_string());
        cause = why.source();
    }
    text
}
