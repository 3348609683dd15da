//! A server that stops as if its process was killed, and starts again at the same address.

use std::net::{SocketAddr, TcpListener};

use axum::Router;
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Server {
    address: SocketAddr,
    router: Router,
    /// One of its own, whose end closes the listener and all connections.
    runtime: Option<Runtime>,
}

impl Server {
    /// Each server has a loopback address of its own, so that no connection takes its port while it is stopped.
    pub(crate) fn start(ip: &str, router: Router) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let mut server = Self { address: listener.local_addr().unwrap(), router, runtime: None };
        server.serve(listener);
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn start_again(&mut self) {
        if self.runtime.is_some() {
            return;
        }
        // The runtime closes the old listener in the background.
        for _ in 0..200 {
            match TcpListener::bind(self.address) {
                Ok(listener) => return self.serve(listener),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
        }
        panic!("{} is in use", self.address);
    }

    fn serve(&mut self, listener: TcpListener) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        listener.set_nonblocking(true).unwrap();
        let router = self.router.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
        self.runtime = Some(runtime);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
