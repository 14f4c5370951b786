//! One plain HTTP GET, as a probe or a scraper makes it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What came back.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Asks `address` for `path`. Blocks for at most about `timeout`.
pub fn get(address: SocketAddr, path: &str, timeout: Duration) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // HTTP/1.0: the body ends with the connection, so there are no chunks to take apart.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: kube-probe/1.37\r\n\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no end of headers")?;
    let status = head.split_ascii_whitespace().nth(1).context("the answer has no status")?;
    Ok(Answer { status: status.parse()?, body: body.to_owned() })
}
