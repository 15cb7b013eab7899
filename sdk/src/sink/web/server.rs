//! The server's thread: takes in connections, as many as memory allows, and gives up those that do not move on.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::patience::Patient;
use super::unusable;
use crate::Error;

/// Connections at a time; a browser has up to six.
const MAX_CONNECTIONS: usize = 32;
/// How long a visitor may take nothing, or be silent in the middle of a request's head or between two; of bodies, the routes say.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of what waits to be sent.
const MAX_BUFFER: usize = 16 << 10;

/// Listens at `address`; says where, should the port have been 0.
pub(super) fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |error: std::io::Error| {
        unusable(
            format!("{address}: {error}"),
            "an address of this machine with a free port",
            "choose another as `listen` under [web]",
        )
    };
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Serves until `stopped` hears that its other side is gone.
pub(super) fn serve(listener: TcpListener, routes: Router, stopped: oneshot::Receiver<()>) {
    // Fails where the system has no more files to give; then there is no page.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        tokio::select! {
            () = accept(listener, routes) => {}
            _ = stopped => {}
        }
    });
    // Ends what is still open.
    runtime.shutdown_background();
}

async fn accept(listener: TcpListener, routes: Router) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files, or a visitor who left at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // One too many is closed.
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let routes = routes.clone();
            tokio::spawn(async move {
                talk(stream, routes).await;
                drop(place);
            });
        }
    }
}

async fn talk(stream: TcpStream, routes: Router) {
    // What is sent is sent whole; waiting to join it with more would only delay it.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(Patient::new(stream, PATIENCE)), TowerToHyperService::new(routes))
        .with_upgrades()
        .await;
    // A visitor who left or sent nonsense concerns nobody.
    drop(served);
}
