use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Udp,
    Tcp,
}

/// The types of records, RFC 1035, 3.2.2, RFC 3596 and RFC 2782.
pub(super) const A: u16 = 1;
pub(super) const AAAA: u16 = 28;
pub(super) const SRV: u16 = 33;

/// The answer to a query.
pub(super) enum Answer {
    /// The data of records of the type that was asked for, with a time to live of 60 s.
    Records(Vec<Vec<u8>>),
    /// The name has none of that type.
    NoData,
    NoSuchName,
    ServerFailure,
    /// There are more records than the response has room for.
    Truncated,
    /// Another server may know.
    Referral,
}

/// The answer to the query for a name, in lower case with a dot at its end, and a type.
pub(super) type Answers = fn(&str, u16, By) -> Answer;

/// Starts a name server on loopback, by UDP and TCP.
pub(super) async fn name_server(answer: Answers) -> SocketAddr {
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        // Another process may have the port for UDP.
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
            let _ = udp.send_to(&respond(&buffer[..length], By::Udp, answer), peer).await;
        }
    });
    tokio::spawn(async move {
        while let Ok((connection, _)) = tcp.accept().await {
            tokio::spawn(serve(connection, answer));
        }
    });
    address
}

/// RFC 1035, 4.2.2.
async fn serve(mut connection: TcpStream, answer: Answers) -> std::io::Result<()> {
    loop {
        let mut query = vec![0; connection.read_u16().await?.into()];
        connection.read_exact(&mut query).await?;
        let response = respond(&query, By::Tcp, answer);
        connection.write_u16(u16::try_from(response.len()).unwrap()).await?;
        connection.write_all(&response).await?;
    }
}

/// The data of an SRV record.
pub(super) fn target(port: u16, name: &str) -> Vec<u8> {
    let mut data = vec![0, 1, 0, 1];
    data.extend(port.to_be_bytes());
    data.extend(labels(name));
    data
}

fn labels(name: &str) -> Vec<u8> {
    let mut labels = Vec::new();
    for label in name.split('.') {
        labels.push(u8::try_from(label.len()).unwrap());
        labels.extend(label.as_bytes());
    }
    if !name.ends_with('.') {
        labels.push(0);
    }
    labels
}

/// RFC 1035, 4.1.
fn respond(query: &[u8], by: By, answer: Answers) -> Vec<u8> {
    let (mut name, mut at) = (String::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push_str(std::str::from_utf8(&query[at + 1..end]).unwrap());
        name.push('.');
        at = end;
    }
    let (kind, end) = (u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5);
    let (flags, code, answers, authorities) = match answer(&name.to_lowercase(), kind, by) {
        Answer::Records(records) => (0x85, 0x80, records, 0),
        Answer::NoData => (0x85, 0x80, Vec::new(), 0),
        Answer::NoSuchName => (0x85, 0x83, Vec::new(), 0),
        Answer::ServerFailure => (0x85, 0x82, Vec::new(), 0),
        Answer::Truncated => (0x87, 0x80, Vec::new(), 0),
        Answer::Referral => (0x81, 0x80, Vec::new(), 1),
    };
    let count = u8::try_from(answers.len()).unwrap();
    let mut response = vec![query[0], query[1], flags, code, 0, 1, 0, count, 0, authorities, 0, 0];
    response.extend(&query[12..end]);
    let referral = (authorities > 0).then(|| (2, labels("ns.test.")));
    for (kind, data) in answers.into_iter().map(|data| (kind, data)).chain(referral) {
        response.extend([0xc0, 12]);
        response.extend(kind.to_be_bytes());
        response.extend([0, 1, 0, 0, 0, 60]);
        response.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        response.extend(data);
    }
    response
}
