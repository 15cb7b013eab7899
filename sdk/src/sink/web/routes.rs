//! What the server answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Board;
use super::guard::{Guard, Kind};
use crate::sink::pictures::Jpeg;

/// The page: markup, style and script in one.
const PAGE: &str = include_str!("page.html");
/// Those who watch the picture, and those who hear of every frame, at a time.
const MAX_WATCHERS: usize = 8;
/// Bytes that a visitor may send at once.
const MAX_REQUEST: usize = 4096;
/// How long a visitor may take to send it.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// How long one picture is waited for.
const PICTURE_PATIENCE: Duration = Duration::from_secs(5);
/// How often visitors hear of us when there are no frames.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a visitor may take nothing.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// Nothing from elsewhere, and no page of another site around it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// What stands between pictures.
const BOUNDARY: &str = "--frame\r\n";

/// All routes, behind `guard`.
pub(super) fn routes(board: Arc<Board>, guard: Guard) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/stream.mjpeg", get(pictures))
        .route("/frame.jpg", get(picture))
        .route("/ws", get(socket))
        .route("/api/state", get(state))
        .route("/api/control", post(control))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guarded))
        .with_state(board)
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let is_channel = request.headers().contains_key(header::UPGRADE);
    let kind = if is_channel || request.method() != Method::GET { Kind::Change } else { Kind::Look };
    if let Err(refusal) = guard.check(request.uri(), request.headers(), kind) {
        return refusal.answer().into_response();
    }
    let cookie = guard.cookie(request.uri()).and_then(|cookie| HeaderValue::try_from(cookie).ok());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(cookie) = cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

async fn page() -> Response {
    typed("text/html; charset=utf-8", PAGE)
}

async fn state(State(board): State<Arc<Board>>) -> Response {
    typed("application/json", board.state())
}

async fn metrics(State(board): State<Arc<Board>>) -> Response {
    typed("text/plain; version=0.0.4; charset=utf-8", board.metrics())
}

/// A change that somebody wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    paused: Option<bool>,
    confidence: Option<f32>,
}

async fn control(State(board): State<Arc<Board>>, request: Request) -> Response {
    // Forms of other sites cannot send this type.
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json\n").into_response();
    }
    let body = match body(request, BODY_PATIENCE).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let Change { paused, confidence } = match serde_json::from_slice(&body) {
        Ok(change) => change,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    if confidence.is_some_and(|confidence| !(0.0..=1.0).contains(&confidence)) {
        return (StatusCode::BAD_REQUEST, "a confidence is from 0 to 1\n").into_response();
    }
    match paused {
        Some(true) => board.controls.pause(),
        Some(false) => board.controls.resume(),
        None => {}
    }
    if let Some(confidence) = confidence {
        board.controls.set_confidence(confidence);
    }
    board.changed.send_replace(());
    typed("application/json", board.state())
}

/// All that a visitor sends, if it does so within `patience`; the connection counts among few until then.
async fn body(request: Request, patience: Duration) -> Result<Bytes, Response> {
    match timeout(patience, Bytes::from_request(request, &())).await {
        Ok(body) => body.map_err(IntoResponse::into_response),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the request did not come to its end\n").into_response()),
    }
}

async fn picture(State(board): State<Arc<Board>>) -> Response {
    if board.picture.receiver_count() >= MAX_WATCHERS {
        return too_many();
    }
    let mut pictures = board.picture.subscribe();
    match timeout(PICTURE_PATIENCE, next_picture(&mut pictures)).await {
        Ok(Some(jpeg)) => typed("image/jpeg", Bytes::from_owner(Picture(jpeg))),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "no frame came\n").into_response(),
    }
}

/// Pictures one after the other, each the newest when the one before was sent.
async fn pictures(State(board): State<Arc<Board>>) -> Response {
    if board.picture.receiver_count() >= MAX_WATCHERS {
        return too_many();
    }
    let parts = stream::unfold((BOUNDARY, board.picture.subscribe()), async |(lead, mut pictures)| {
        let jpeg = next_picture(&mut pictures).await?;
        Some((Ok::<_, std::convert::Infallible>(part(lead, &jpeg.bytes)), ("", pictures)))
    });
    let body = Body::from_stream(parts);
    ([(header::CONTENT_TYPE, "multipart/x-mixed-replace; boundary=frame")], body).into_response()
}

/// One picture of many. The boundary behind it comes with it: browsers show a picture when they see its end.
fn part(lead: &str, jpeg: &[u8]) -> Bytes {
    let head = format!("{lead}Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
    [head.as_bytes(), jpeg, b"\r\n", BOUNDARY.as_bytes()].concat().into()
}

async fn next_picture(pictures: &mut watch::Receiver<Option<Arc<Jpeg>>>) -> Option<Arc<Jpeg>> {
    loop {
        pictures.changed().await.ok()?;
        if let Some(jpeg) = pictures.borrow_and_update().as_ref() {
            return Some(Arc::clone(jpeg));
        }
    }
}

async fn socket(State(board): State<Arc<Board>>, upgrade: WebSocketUpgrade) -> Response {
    if board.changed.receiver_count() >= MAX_WATCHERS {
        return too_many();
    }
    let changed = board.changed.subscribe();
    upgrade
        .max_message_size(MAX_REQUEST)
        .max_frame_size(MAX_REQUEST)
        .on_upgrade(move |socket| tell(socket, board, changed))
}

/// Tells a visitor of the newest frame whenever the one before was told, until it leaves or takes nothing.
async fn tell(mut socket: WebSocket, board: Arc<Board>, mut changed: watch::Receiver<()>) {
    changed.mark_changed();
    loop {
        tokio::select! {
            // Visitors have nothing to say here but that they leave.
            said = socket.recv() => if !matches!(said, Some(Ok(Message::Ping(_) | Message::Pong(_)))) { return },
            woken = timeout(HEARTBEAT, changed.changed()) => {
                let text = Message::Text(board.state().into());
                let is_sent = matches!(timeout(SEND_PATIENCE, socket.send(text)).await, Ok(Ok(())));
                if matches!(woken, Ok(Err(_))) || !is_sent {
                    return;
                }
            }
        }
    }
}

fn typed(kind: &'static str, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, kind)], body.into()).into_response()
}

fn too_many() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "too many visitors\n").into_response()
}

/// Lends a picture's bytes.
struct Picture(Arc<Jpeg>);

impl AsRef<[u8]> for Picture {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_falls_silent_within_a_request_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let begun = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from("{\"paused\":"))]);
        let silent = Body::from_stream(futures_util::StreamExt::chain(begun, stream::pending()));
        let refusal = runtime.block_on(body(Request::new(silent), Duration::from_millis(50))).unwrap_err();
        assert_eq!(refusal.status(), StatusCode::REQUEST_TIMEOUT);
        let whole = runtime.block_on(body(Request::new(Body::from("{}")), Duration::from_secs(60))).unwrap();
        assert_eq!(&whole[..], b"{}");
    }
}
