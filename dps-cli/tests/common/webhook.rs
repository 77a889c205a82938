//! Allocation webhooks.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A webhook that always answers with this body. Returns its URL, which contains a function key.
pub(crate) async fn answer_always(body: &str) -> String {
    answer_after(body, || {}).await
}

/// A webhook that first does something at each request.
pub(crate) async fn answer_after(body: &str, action: impl Fn() + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = body.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            action();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"}")
                    && stream
                        .read_buf(&mut request)
                        .await
                        .is_ok_and(|count| count > 0)
                {}
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    url(port)
}

/// The URL of a webhook that is not reachable.
pub(crate) async fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url(listener.local_addr().unwrap().port())
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/api/allocate?code=secret")
}
