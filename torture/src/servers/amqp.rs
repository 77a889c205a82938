//! Servers over AMQP 1.0, up to the open of the connection. Later states are those of a real server that is interrupted.

use dps_benches::TransportKind;
use dps_device::ErrorKind;

use super::script::Act::{Answer, Drip, Endless, Read, Silence};
use super::script::{Act, Layer, Script, send};
use super::{Case, PROTOCOL, RETRIED, UNAUTHORIZED};

const SASL: &[u8] = b"AMQP\x03\x01\x00\x00";
const AMQP: &[u8] = b"AMQP\x00\x01\x00\x00";
/// The types of frames.
const AMQP_FRAME: u8 = 0;
const SASL_FRAME: u8 = 1;
/// sasl-mechanisms with the symbol PLAIN.
const MECHANISMS: &[u8] = b"\x00\x53\x40\xC0\x08\x01\xA3\x05PLAIN";
/// open with the container id "a".
const OPEN: &[u8] = b"\x00\x53\x10\xC0\x04\x01\xA1\x01a";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = headers();
    cases.extend(sasl());
    cases.extend(opened());
    cases.extend(out_of_order());
    cases
}

fn headers() -> Vec<Case> {
    let answer = |bytes: &[u8]| vec![Read, send(bytes), Silence];
    vec![
        amqp("silent after TLS", vec![Silence], RETRIED),
        amqp("closes after TLS", vec![], RETRIED),
        amqp("silent after the header", vec![Read, Silence], RETRIED),
        amqp("closes after the header", vec![Read], RETRIED),
        amqp(
            "the header of AMQP 2",
            answer(b"AMQP\x00\x02\x00\x00"),
            PROTOCOL,
        ),
        amqp(
            "the header of AMQP 0.9.1",
            answer(b"AMQP\x00\x00\x09\x01"),
            PROTOCOL,
        ),
        amqp(
            "HTTP in place of AMQP",
            answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            PROTOCOL,
        ),
        amqp(
            "half of a header, then silent",
            answer(b"AMQP\x03"),
            RETRIED,
        ),
        amqp(
            "half of a header, then closed",
            vec![Read, send(b"AMQP\x03")],
            RETRIED,
        ),
        amqp(
            "a slow header",
            vec![Read, Drip(b"A".to_vec())],
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
    ]
}

fn sasl() -> Vec<Case> {
    let after = |bytes: Vec<u8>| vec![Read, send(SASL), Act::Send(bytes), Silence];
    let outcome = |code: u8| {
        let body = [b"\x00\x53\x44\xC0\x03\x01\x50", &[code][..]].concat();
        let first = [SASL, &frame(SASL_FRAME, MECHANISMS)].concat();
        vec![
            Read,
            send(first),
            Read,
            Act::Send(frame(SASL_FRAME, &body)),
            Silence,
        ]
    };
    vec![
        amqp(
            "no mechanisms",
            after(frame(SASL_FRAME, b"\x00\x53\x40\x45")),
            PROTOCOL,
        ),
        amqp(
            "an unknown mechanism",
            after(frame(SASL_FRAME, b"\x00\x53\x40\xC0\x06\x01\xA3\x03FOO")),
            PROTOCOL,
        ),
        amqp(
            "a frame that is shorter than its header",
            after(b"\x00\x00\x00\x07\x02\x01\x00".to_vec()),
            PROTOCOL,
        ),
        amqp(
            "a frame of 4 GiB",
            vec![
                Read,
                send([SASL, b"\xFF\xFF\xFF\xFF\x02\x01\x00\x00"].concat()),
                Endless(vec![0]),
            ],
            PROTOCOL,
        ),
        amqp(
            "a data offset of 0",
            after(b"\x00\x00\x00\x08\x00\x01\x00\x00".to_vec()),
            PROTOCOL,
        ),
        amqp(
            "a data offset beyond the frame",
            after(b"\x00\x00\x00\x08\xFF\x01\x00\x00".to_vec()),
            PROTOCOL,
        ),
        amqp(
            "an unknown type of frame",
            after(frame(9, MECHANISMS)),
            PROTOCOL,
        ),
        amqp(
            "an AMQP frame in place of SASL",
            after(frame(AMQP_FRAME, OPEN)),
            PROTOCOL,
        ),
        amqp(
            "a body that is not AMQP",
            after(frame(SASL_FRAME, b"\xFF\xFF\xFF")),
            PROTOCOL,
        ),
        amqp(
            "a list that is longer than its frame",
            after(frame(
                SASL_FRAME,
                b"\x00\x53\x40\xD0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
            )),
            PROTOCOL,
        ),
        amqp(
            "values that are too deep",
            after(frame(SASL_FRAME, &b"\x00".repeat(20_000))),
            PROTOCOL,
        ),
        amqp(
            "empty frames of SASL without end",
            vec![Read, send(SASL), Endless(frame(SASL_FRAME, b""))],
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        amqp("refused: authentication", outcome(1), UNAUTHORIZED),
        amqp(
            "refused: the system",
            outcome(2),
            &[
                ErrorKind::Service,
                ErrorKind::Deadline,
                ErrorKind::Protocol,
                ErrorKind::Unauthorized,
            ],
        ),
        amqp("an unknown outcome", outcome(77), PROTOCOL),
        amqp("silent after the outcome", outcome(0), RETRIED),
    ]
}

/// The steps after the SASL layer, when the client has sent its open, begin and attaches.
fn after(acts: Vec<Act>) -> Vec<Act> {
    let first = [SASL, &frame(SASL_FRAME, MECHANISMS)].concat();
    let ok = frame(SASL_FRAME, b"\x00\x53\x44\xC0\x03\x01\x50\x00");
    let login = vec![Read, send(first), Read, Act::Send(ok), Read];
    login.into_iter().chain(acts).collect()
}

fn opened() -> Vec<Case> {
    let open = [AMQP, &frame(AMQP_FRAME, OPEN)].concat();
    // close with the condition amqp:internal-error.
    let close = b"\x00\x53\x18\xC0\x1C\x01\x00\x53\x1D\xC0\x16\x01\xA3\x13amqp:internal-error";
    vec![
        amqp(
            "a second SASL header",
            after(vec![send(SASL), Silence]),
            PROTOCOL,
        ),
        amqp("no open", after(vec![send(AMQP), Silence]), RETRIED),
        amqp(
            "an open without a container id",
            after(vec![
                send([AMQP, &frame(AMQP_FRAME, b"\x00\x53\x10\x45")].concat()),
                Silence,
            ]),
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        amqp(
            "closes the connection after the open",
            after(vec![
                Act::Send(open.clone()),
                Act::Send(frame(AMQP_FRAME, close)),
                Silence,
            ]),
            &[ErrorKind::Deadline, ErrorKind::Protocol],
        ),
        amqp(
            "no begin",
            after(vec![Act::Send(open.clone()), Silence]),
            RETRIED,
        ),
        amqp(
            "empty frames without end",
            after(vec![
                Act::Send(open.clone()),
                Endless(frame(AMQP_FRAME, b"")),
            ]),
            &[ErrorKind::Deadline, ErrorKind::Protocol],
        ),
        amqp(
            "a second open",
            after(vec![
                Act::Send(open.clone()),
                Act::Send(frame(AMQP_FRAME, OPEN)),
                Silence,
            ]),
            PROTOCOL,
        ),
        amqp(
            "an unknown performative",
            after(vec![
                Act::Send(open.clone()),
                Act::Send(frame(AMQP_FRAME, b"\x00\x53\x99\x45")),
                Silence,
            ]),
            PROTOCOL,
        ),
        amqp(
            "a transfer without a link",
            after(vec![
                Act::Send(open),
                Act::Send(frame(AMQP_FRAME, b"\x00\x53\x14\xC0\x02\x01\x43")),
                Silence,
            ]),
            PROTOCOL,
        ),
    ]
}

/// Frames that are well-formed and not allowed at this point.
fn out_of_order() -> Vec<Case> {
    let sasl = |bodies: [&[u8]; 2]| {
        let frames = bodies.map(|body| frame(SASL_FRAME, body)).concat();
        vec![Read, send([SASL, &frames].concat()), Silence]
    };
    let outcome = b"\x00\x53\x44\xC0\x03\x01\x50\x00";
    let challenge = b"\x00\x53\x42\xC0\x04\x01\xA0\x01\x00";
    let amqp = |name, act| self::amqp(name, after(vec![send(AMQP), act, Silence]), PROTOCOL);
    vec![
        self::amqp(
            "an outcome before the mechanisms",
            sasl([outcome, b""]),
            PROTOCOL,
        ),
        self::amqp(
            "the mechanisms twice",
            sasl([MECHANISMS, MECHANISMS]),
            PROTOCOL,
        ),
        self::amqp(
            "a challenge in place of the outcome",
            sasl([MECHANISMS, challenge]),
            PROTOCOL,
        ),
        amqp("a begin before the open", Answer(|_| begin(Some(0)))),
        amqp(
            "an attach before the open",
            Answer(|read| attach(read, ANSWERS, 0)),
        ),
        amqp(
            "an attach before the begin",
            Answer(|read| [open(), attach(read, ANSWERS, 0)].concat()),
        ),
        amqp("a second begin", Answer(|_| begun(&[begin(Some(0))]))),
        amqp("an open after the begin", Answer(|_| begun(&[open()]))),
        amqp(
            "a session that was not requested",
            Answer(|_| [open(), begin(None)].concat()),
        ),
        amqp(
            "an answer to another begin",
            Answer(|_| [open(), begin(Some(7))].concat()),
        ),
        amqp(
            "a link that was not requested",
            Answer(|_| begun(&[attach(b"", ANSWERS, 0)])),
        ),
        amqp(
            "a second attach",
            Answer(|read| begun(&[attach(read, ANSWERS, 0), attach(read, ANSWERS, 1)])),
        ),
        amqp(
            "two links with one handle",
            Answer(|read| begun(&[attach(read, ANSWERS, 0), attach(read, REQUESTS, 0)])),
        ),
        amqp("a flow of no link", Answer(|_| begun(&[flow(5)]))),
        amqp(
            "a detach of no link",
            Answer(|_| begun(&[frame(AMQP_FRAME, b"\x00\x53\x16\xC0\x03\x01\x52\x05")])),
        ),
        amqp(
            "a disposition of no link",
            Answer(|_| begun(&[accepted(0)])),
        ),
        amqp(
            "an answer without credit",
            Answer(|read| begun(&[attach(read, ANSWERS, 0), transfer(0)])),
        ),
        amqp(
            "an answer on the link for requests",
            Answer(|read| attached(read, &[transfer(1)])),
        ),
        amqp(
            "an outcome of a request that was not sent",
            Answer(|read| attached(read, &[accepted(9)])),
        ),
        amqp(
            "an open in place of an answer",
            Answer(|read| attached(read, &[open()])),
        ),
        amqp(
            "a begin in place of an answer",
            Answer(|read| attached(read, &[begin(Some(0))])),
        ),
        amqp(
            "an attach in place of an answer",
            Answer(|read| attached(read, &[attach(read, REQUESTS, 2)])),
        ),
    ]
}

/// The ends of the names of the client's links.
const ANSWERS: &str = "-receiver";
const REQUESTS: &str = "-sender";

fn open() -> Vec<u8> {
    frame(AMQP_FRAME, OPEN)
}

/// A begin that answers the client's on this channel, or begins a session of the server.
fn begin(remote: Option<u8>) -> Vec<u8> {
    let remote = remote.map_or(vec![0x40], |channel| vec![0x60, 0, channel]);
    // next-outgoing-id 0, both windows 100.
    performative(0x11, &[&remote, b"\x43", b"\x52\x64", b"\x52\x64"])
}

/// An open, a begin, and these frames.
fn begun(frames: &[Vec<u8>]) -> Vec<u8> {
    [open(), begin(Some(0)), frames.concat()].concat()
}

/// An open, a begin, both attaches, credit for ten requests, and these frames.
fn attached(read: &[u8], frames: &[Vec<u8>]) -> Vec<u8> {
    let links = [attach(read, ANSWERS, 0), attach(read, REQUESTS, 1), flow(1)];
    begun(&[links.concat(), frames.concat()])
}

/// The server's attach of the client's link whose name ends so. The name is in the client's attach.
fn attach(read: &[u8], end: &str, handle: u8) -> Vec<u8> {
    let found = read
        .windows(end.len())
        .position(|part| part == end.as_bytes());
    // The name is a string with one byte for its length, and has 32 digits before its end.
    let name = found.and_then(|at| read.get(at.checked_sub(32)?..at + end.len()));
    let name = name.unwrap_or(b"another");
    let name = [&[0xA1, name.len() as u8], name].concat();
    let handle = [0x52, handle];
    let (role, count): (&[u8], &[u8]) = match end {
        ANSWERS => (b"\x42", b"\x43"),
        _ => (b"\x41", b"\x40"),
    };
    let source = b"\x00\x53\x28\xC0\x04\x01\xA1\x01a";
    let target = b"\x00\x53\x29\xC0\x04\x01\xA1\x01a";
    let null = b"\x40";
    performative(
        0x12,
        &[
            &name, &handle, role, null, null, source, target, null, null, count,
        ],
    )
}

/// A flow with credit for ten requests.
fn flow(handle: u8) -> Vec<u8> {
    let handle = [0x52, handle];
    performative(
        0x13,
        &[
            b"\x43",
            b"\x52\x64",
            b"\x43",
            b"\x52\x64",
            &handle,
            b"\x43",
            b"\x52\x0A",
        ],
    )
}

/// A settled transfer of the message `{}`.
fn transfer(handle: u8) -> Vec<u8> {
    let handle = [0x52, handle];
    let mut frame = performative(0x14, &[&handle, b"\x43", b"\xA0\x01t", b"\x43", b"\x41"]);
    frame.extend(b"\x00\x53\x75\xA0\x02{}");
    let size = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

/// The outcome `accepted` of a request.
fn accepted(request: u8) -> Vec<u8> {
    let request = [0x52, request];
    let outcome = b"\x00\x53\x24\x45";
    performative(0x15, &[b"\x41", &request, b"\x40", b"\x41", outcome])
}

/// A frame with a list of these fields.
fn performative(code: u8, fields: &[&[u8]]) -> Vec<u8> {
    let content = fields.concat();
    let head = [
        0x00,
        0x53,
        code,
        0xC0,
        content.len() as u8 + 1,
        fields.len() as u8,
    ];
    frame(AMQP_FRAME, &[&head[..], &content].concat())
}

fn amqp(name: &'static str, acts: Vec<Act>, expected: &'static [ErrorKind]) -> Case {
    Case {
        name,
        transport: TransportKind::Amqp,
        layer: Layer::Tls,
        script: Script(acts),
        expected,
    }
}

/// A frame on channel 0.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8)
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    [&size[..], &[2, kind, 0, 0], body].concat()
}
