//! What is wrong with requests, as they are sent.

/// A head: its first line and its fields, as they are.
pub(super) fn head(first: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{first}\r\n{fields}\r\n")
}

/// What is wrong with a request, the request, and the status that answers it.
pub(super) type Case = (&'static str, Vec<u8>, &'static str);

/// What is wrong whatever the port. `first` is a good first line, `others` are good fields that say nothing of a body, and
/// `body` is the body that belongs to them, if one does.
pub(super) fn wrong_anywhere(first: &str, others: &str, body: &str) -> Vec<Case> {
    let mut words = first.split(' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let length = length(body);
    let wrong = |first: &str, fields: &[&str]| format!("{}{body}", head(first, fields)).into_bytes();
    let line = |line: String| wrong(&line, &["Host: x", others, &length]);
    // Nothing else says how long the body is.
    let sizes = |sizes: &[&str]| wrong(first, &[&["Host: x", others], sizes].concat());
    let fields = |fields: &[&str]| wrong(first, &[&["Host: x", others, length.as_str()], fields].concat());
    let feeds = |feed: &str, good: &str| {
        let whole = format!("{}{body}", head(first, &["Host: x", others, &length]));
        whole.replacen(good, feed, 1).into_bytes()
    };
    let long = "x".repeat(70_000);
    let many: Vec<String> = (0..200).map(|n| format!("F{n}: x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    vec![
        (
            "a length and a chunked body",
            sizes(&["Content-Length: 3", "Transfer-Encoding: chunked"]),
            "400",
        ),
        (
            "a chunked body and a length",
            sizes(&["Transfer-Encoding: chunked", "Content-Length: 3"]),
            "400",
        ),
        (
            "two lengths that differ",
            sizes(&["Content-Length: 3", "Content-Length: 4"]),
            "400",
        ),
        (
            "the same length twice",
            sizes(&["Content-Length: 3", "content-length: 3"]),
            "400",
        ),
        ("a list of lengths", sizes(&["Content-Length: 3, 3"]), "400"),
        ("a length with a sign", sizes(&["Content-Length: +3"]), "400"),
        ("a length below nothing", sizes(&["Content-Length: -3"]), "400"),
        ("a length in another base", sizes(&["Content-Length: 0x3"]), "400"),
        ("a length of nothing at all", sizes(&["Content-Length:"]), "400"),
        (
            "a length beyond all numbers",
            sizes(&["Content-Length: 99999999999999999999"]),
            "400",
        ),
        (
            "a length behind more zeros than are looked at",
            sizes(&[&format!("Content-Length: {}3", "0".repeat(300))]),
            "400",
        ),
        (
            "a length across the end of what is looked at",
            sizes(&[&format!("Content-Length:{}34", " ".repeat(240))]),
            "400",
        ),
        (
            "a coding that is not chunked",
            sizes(&["Transfer-Encoding: gzip"]),
            "400",
        ),
        (
            "chunked, and then something else",
            sizes(&["Transfer-Encoding: chunked, identity"]),
            "400",
        ),
        (
            "a chunked body of HTTP/1.0",
            wrong(&format!("{method} {target} HTTP/1.0"), &["Transfer-Encoding: chunked"]),
            "400",
        ),
        (
            "a field that goes on in the next line",
            fields(&["Folded: a", " b"]),
            "400",
        ),
        (
            "a first field that is folded",
            wrong(first, &[" Host: x", others, &length]),
            "400",
        ),
        ("a length that is folded", sizes(&["Content-Length:", "\t3"]), "400"),
        ("a blank before the colon", fields(&["Spaced : a"]), "400"),
        (
            "a length with a blank before the colon",
            sizes(&["Content-Length : 3"]),
            "400",
        ),
        ("a line without a colon", fields(&["nothing"]), "400"),
        ("a field without a name", fields(&[": nothing"]), "400"),
        ("a NUL in a value", fields(&["Nul: a\0b"]), "400"),
        ("a NUL in a name", fields(&["N\0l: a"]), "400"),
        (
            "a NUL in the target",
            line(format!("{method} {target}\0 HTTP/1.1")),
            "400",
        ),
        ("a control character in a value", fields(&["Bell: \u{7}"]), "400"),
        ("letters beyond ASCII in a name", fields(&["N\u{e4}me: a"]), "400"),
        ("a carriage return alone", fields(&["A: a\rB: b"]), "400"),
        (
            "a line feed alone behind the first line",
            feeds("HTTP/1.1\nHost", "HTTP/1.1\r\nHost"),
            "400",
        ),
        (
            "a line feed alone behind a field",
            feeds("Host: x\n", "Host: x\r\n"),
            "400",
        ),
        (
            "a line feed alone at the end of the head",
            feeds("\r\n\n", "\r\n\r\n"),
            "400",
        ),
        (
            "nothing but line feeds",
            head(first, &["Host: x", others, &length])
                .replace('\r', "")
                .into_bytes(),
            "400",
        ),
        ("a line feed in front", feeds(&format!("\n{method}"), method), "400"),
        (
            "empty lines in front",
            feeds(&format!("\r\n\r\n{method}"), method),
            "400",
        ),
        ("no host", wrong(first, &[others, &length]), "400"),
        ("two hosts", fields(&["Host: y"]), "400"),
        ("twice the same host", fields(&["host: x"]), "400"),
        (
            "a field that is longer than all heads together may be",
            fields(&[&format!("Long: {long}")]),
            "431",
        ),
        (
            "a target that is longer than a head may be",
            line(format!("{method} {target}{long} HTTP/1.1")),
            "431",
        ),
        ("too many fields", fields(&many), "431"),
        ("a method that is none", line(format!("P@ST {target} HTTP/1.1")), "400"),
        ("a blank in front of the method", line(format!(" {first}")), "400"),
        (
            "two blanks in the first line",
            line(format!("{method}  {target} HTTP/1.1")),
            "400",
        ),
        ("HTTP/0.9", format!("{method} {target}\r\n").into_bytes(), "400"),
        ("HTTP/1.2", line(format!("{method} {target} HTTP/1.2")), "400"),
        ("HTTP/2.0 by name", line(format!("{method} {target} HTTP/2.0")), "400"),
        (
            "the beginning of HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            "400",
        ),
        (
            "the beginning of TLS",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
            "400",
        ),
        ("a greeting of something else", b"EHLO mail.example\r\n".to_vec(), "400"),
    ]
}

pub(super) fn length(body: &str) -> String {
    format!("Content-Length: {}", body.len())
}

pub(super) fn wrong_for_a_node(body: &str) -> Vec<Case> {
    let length = length(body);
    let whole = |first: &str, fields: &[&str]| {
        let mut all = vec![length.as_str()];
        all.extend(fields);
        format!("{}{body}", head(first, &all)).into_bytes()
    };
    let call = |fields: &[&str]| {
        let mut all = vec!["Host: x"];
        all.extend(fields);
        whole("POST / HTTP/1.1", &all)
    };
    let line = |first: &str| whole(first, &["Host: x"]);
    let chunked = |chunks: &str| {
        let head = head("POST / HTTP/1.1", &["Host: x", "Transfer-Encoding: chunked"]);
        format!("{head}{chunks}").into_bytes()
    };
    let one_chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    vec![
        ("a body in chunks", chunked(&one_chunk), "411"),
        ("a chunk of no size", chunked("\r\n"), "411"),
        (
            "a chunk of a size that is no number",
            chunked("five\r\nabcde\r\n0\r\n\r\n"),
            "411",
        ),
        (
            "a chunk of a size beyond all numbers",
            chunked("fffffffffffffffff\r\n"),
            "411",
        ),
        ("no length", head("POST / HTTP/1.1", &["Host: x"]).into_bytes(), "411"),
        (
            "a body that is too long",
            head("POST / HTTP/1.1", &["Host: x", "Content-Length: 99999999"]).into_bytes(),
            "413",
        ),
        ("a host that is none", whole("POST / HTTP/1.1", &["Host: x y"]), "400"),
        ("a host of nothing", whole("POST / HTTP/1.1", &["Host:"]), "400"),
        (
            "another host in the target",
            line("POST http://elsewhere.example/RPC2 HTTP/1.1"),
            "400",
        ),
        (
            "another port in the target",
            line("POST http://x:1/RPC2 HTTP/1.1"),
            "400",
        ),
        ("another path", line("POST /other HTTP/1.1"), "404"),
        ("a path with more behind it", line("POST /RPC2/more HTTP/1.1"), "404"),
        ("a path by detours", line("POST /RPC2/../RPC2 HTTP/1.1"), "404"),
        ("everything for a path", line("POST * HTTP/1.1"), "404"),
        ("a GET", line("GET / HTTP/1.1"), "405"),
        ("a PUT", line("PUT /RPC2 HTTP/1.1"), "405"),
        ("a DELETE", line("DELETE / HTTP/1.1"), "405"),
        ("a TRACE", line("TRACE / HTTP/1.1"), "405"),
        (
            "what a browser asks before it posts",
            line("OPTIONS /RPC2 HTTP/1.1"),
            "405",
        ),
        ("a method in small letters", line("post / HTTP/1.1"), "405"),
        (
            "a method that nobody has heard of",
            line("FROBNICATE / HTTP/1.1"),
            "405",
        ),
        ("what is asked of a proxy", line("CONNECT x:80 HTTP/1.1"), "405"),
        ("a page of another site", call(&["Origin: http://evil.example"]), "403"),
        (
            "a page whose site was made to lead here",
            whole(
                "POST / HTTP/1.1",
                &["Host: evil.example", "Origin: http://evil.example"],
            ),
            "403",
        ),
        ("a page that hides where it is from", call(&["Origin: null"]), "403"),
        ("an expectation that nobody meets", call(&["Expect: a miracle"]), "417"),
    ]
}
