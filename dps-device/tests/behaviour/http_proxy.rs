//! An HTTP proxy that accepts one connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Accepts one connection, answers its CONNECT with `status`, and sends the request to the receiver.
pub(crate) async fn proxy(status: &'static str, to: u16) -> (u16, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, head) = oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(client.read_u8().await.unwrap());
        }
        let read = String::from_utf8(read).unwrap();
        // The test may have dropped the receiver.
        let _ = sender.send(read);
        let answer = format!("HTTP/1.1 {status}\r\n\r\n");
        client.write_all(answer.as_bytes()).await.unwrap();
        if status.starts_with("200") {
            let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            // Either side may close the connection.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    });
    (port, head)
}
