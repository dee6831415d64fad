use super::*;
use crate::config::{LogFormat, Logging, Share};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;
use std::sync::Mutex;
use std::time::Duration;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn context(text: &str) -> TraceContext {
    text.parse().unwrap()
}

#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn traces(client_decides: bool, share: Share) -> (Traces, Ended) {
    let ended = Ended::default();
    let sampling = Sampling { client_decides, share };
    let traces = Traces::with(ended.clone(), Resource::builder_empty().build(), sampling);
    (traces, ended)
}

#[test]
fn what_is_not_traced_takes_the_place_of_a_pointer() {
    assert_eq!(size_of::<Option<Active>>(), size_of::<usize>());
    assert_eq!(size_of::<Traces>(), size_of::<usize>());
}

#[test]
fn without_a_collector_there_is_nothing() {
    let traces = Traces::default();
    assert!(traces.root("send_message", Some(context(SAMPLED))).is_none());
    assert!(
        traces
            .part_of([context(SAMPLED)], "commit", SpanKind::Internal)
            .is_none()
    );
}

#[test]
fn a_client_decides_for_its_message_where_it_may() {
    for (client_decides, share, asked, expected) in [
        (true, Share::NONE, None, false),
        (true, Share::NONE, Some(SAMPLED), true),
        (true, Share::ALL, None, true),
        (true, Share::ALL, Some(UNSAMPLED), false),
        (false, Share::NONE, Some(SAMPLED), false),
        (false, Share::ALL, Some(UNSAMPLED), true),
    ] {
        let (traces, _) = traces(client_decides, share);
        let span = traces.root("send_message", asked.map(context));
        assert_eq!(span.is_some(), expected, "{client_decides} {share:?} {asked:?}");
        if let (Some(span), Some(asked)) = (span, asked) {
            assert_eq!(span.context().trace_id, context(asked).trace_id);
            assert_ne!(span.context().span_id, context(asked).span_id);
        }
    }
}

#[test]
fn a_share_of_the_messages_is_traced() {
    let (traces, _) = traces(true, Share::of(0.25).unwrap());
    let count = (0..10_000).filter(|_| traces.root("x", None).is_some()).count();
    assert!((2_200..2_800).contains(&count), "{count}");
}

#[test]
fn a_part_has_the_first_recorded_parent_and_is_linked_with_the_others() {
    let (traces, ended) = traces(true, Share::ALL);
    let (one, two) = (traces.root("one", None).unwrap(), traces.root("two", None).unwrap());
    assert!(traces.part_of([], "x", SpanKind::Client).is_none());
    assert!(traces.part_of([context(UNSAMPLED)], "x", SpanKind::Client).is_none());
    let parents = [context(UNSAMPLED), one.context(), two.context()];
    let mut part = traces.part_of(parents, "part", SpanKind::Client).unwrap();
    assert_eq!(part.context().trace_id, one.context().trace_id);
    part.set("chat.peer", "node2");
    part.fail("timeout");
    assert!(ended.0.lock().unwrap().is_empty(), "nothing has ended");
    drop(part);
    let spans = ended.0.lock().unwrap();
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(span.parent_span_id.to_bytes(), one.context().span_id);
    assert!(span.parent_span_is_remote);
    let links: Vec<_> = span
        .links
        .iter()
        .map(|link| link.span_context.span_id().to_bytes())
        .collect();
    assert_eq!(links, [two.context().span_id]);
    assert_eq!(span.status, Status::error(""));
    assert_eq!(span.attributes.len(), 2);
}

/// What a log writes, for a look at it.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_line_within_a_span_has_its_ids() {
    let (traces, _) = traces(true, Share::ALL);
    for format in [LogFormat::Json, LogFormat::Text] {
        let written = Written::default();
        let logging = Logging {
            level: tracing::level_filters::LevelFilter::INFO,
            format,
        };
        let writer = written.clone();
        let (log, _) = crate::telemetry::lines(logging, move || writer.clone());
        let id = tracing::subscriber::with_default(log, || {
            let span = traces.root("send_message", Some(context(SAMPLED))).unwrap();
            span.log().in_scope(|| tracing::info!("inside"));
            tracing::info!("outside");
            u64::from_be_bytes(span.context().span_id)
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [inside, outside] = lines[..] else { panic!("{text}") };
        assert!(inside.contains("0af7651916cd43dd8448eb211c80319c"), "{inside}");
        assert!(inside.contains(&format!("{id:016x}")), "{inside}");
        assert!(!outside.contains("trace_id"), "{outside}");
        if format == LogFormat::Json {
            let line: serde_json::Value = serde_json::from_str(inside).unwrap();
            assert_eq!(line["span"]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        }
    }
}
