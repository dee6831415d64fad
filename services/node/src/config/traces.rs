//! Traces: where they go, and which are made. The variables are those of OpenTelemetry, mistakes in them are told as all others are.

use super::raw;
use super::reading::Reading;
use http::{HeaderName, HeaderValue, Uri};
use std::fmt;
use std::time::Duration;

/// What is traced, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// Where spans go; `None`: nothing is traced.
    pub collector: Option<Collector>,
    /// Which messages are traced.
    pub sampling: Sampling,
    /// What the service is called.
    pub service: String,
    /// What else is said of the process with every span.
    pub attributes: Vec<(String, String)>,
}

/// Where spans go, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Collector {
    /// The URL that takes them: http, with a host and the path of traces.
    pub url: Uri,
    /// What is said with every request, for example who sends it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Longest time for a batch, all tries together.
    pub timeout: Duration,
    /// Most spans that wait; further ones are dropped.
    pub queue: usize,
    /// Most spans of a batch.
    pub batch: usize,
    /// Longest wait of a span for its batch to be full.
    pub delay: Duration,
}

impl fmt::Debug for Collector {
    /// Headers often hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("url", &self.url)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// Which messages are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// A client that says where in a trace it asks, decides for its message.
    pub client_decides: bool,
    /// For all others.
    pub share: Share,
}

/// How many of all: so many of 2^64, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Every one.
    pub const ALL: Self = Self(u64::MAX);

    /// A share from 0 to 1.
    #[must_use]
    pub fn of(ratio: f64) -> Option<Self> {
        // 2^64: what a number of 64 bits cannot reach. The cast saturates.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (0.0..=1.0)
            .contains(&ratio)
            .then_some(Self((ratio * 18_446_744_073_709_551_616.0) as u64))
    }

    /// True if the message with this random number is one of them.
    #[must_use]
    pub const fn takes(self, random: u64) -> bool {
        self.0 == u64::MAX || random < self.0
    }
}

/// The path of traces at a collector.
const PATH: &str = "/v1/traces";

impl TraceSettings {
    /// Nothing is traced.
    #[must_use]
    pub fn off() -> Self {
        Self {
            collector: None,
            sampling: Sampling {
                client_decides: true,
                share: Share::NONE,
            },
            service: "chat-node".into(),
            attributes: Vec::new(),
        }
    }

    /// Every message is traced, and what is known of it goes to this collector soon. For tests.
    #[must_use]
    pub fn test(url: Uri) -> Self {
        Self {
            collector: Some(Collector {
                url,
                headers: Vec::new(),
                timeout: Duration::from_secs(1),
                queue: 2_048,
                batch: 512,
                delay: Duration::from_millis(20),
            }),
            sampling: Sampling {
                client_decides: true,
                share: Share::ALL,
            },
            ..Self::off()
        }
    }

    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let attributes = read_pairs(reading, &raw::OTEL_RESOURCE_ATTRIBUTES);
        let named = attributes.iter().rfind(|(key, _)| key == "service.name");
        let service = match (reading.given(&raw::OTEL_SERVICE_NAME), named) {
            (Some(given), _) if !given.is_empty() => given,
            (_, Some((_, named))) => named,
            (_, None) => reading.text(&raw::OTEL_SERVICE_NAME),
        };
        Self {
            service: service.to_owned(),
            sampling: Sampling::read(reading),
            collector: Collector::read(reading),
            attributes,
        }
    }
}

impl Sampling {
    fn read(reading: &mut Reading<'_>) -> Self {
        let sampler = reading.choice(&raw::OTEL_TRACES_SAMPLER);
        let text = reading.text(&raw::OTEL_TRACES_SAMPLER_ARG);
        let share = text.trim().parse().ok().and_then(Share::of);
        if share.is_none() {
            let what = format_args!("{text:?} is no number from 0 to 1");
            reading.mistake(&raw::OTEL_TRACES_SAMPLER_ARG, what);
        }
        let (client_decides, sampler) = match sampler.strip_prefix("parentbased_") {
            Some(sampler) => (true, sampler),
            None => (false, sampler),
        };
        Self {
            client_decides,
            share: match sampler {
                "always_on" => Share::ALL,
                "always_off" => Share::NONE,
                _ => share.unwrap_or(Share::NONE),
            },
        }
    }
}

impl Collector {
    fn read(reading: &mut Reading<'_>) -> Option<Self> {
        let headers = read_pairs(reading, &raw::OTEL_EXPORTER_OTLP_HEADERS);
        let headers = headers.iter().filter_map(|(name, value)| {
            let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            if header.is_none() {
                // What it says may be a secret.
                reading.mistake(
                    &raw::OTEL_EXPORTER_OTLP_HEADERS,
                    format_args!("{name:?} is no header, or has a value that none can have"),
                );
            }
            header
        });
        let headers = headers.collect();
        let queue = reading.count(&raw::OTEL_BSP_MAX_QUEUE_SIZE);
        let batch = reading.count(&raw::OTEL_BSP_MAX_EXPORT_BATCH_SIZE);
        reading.relation(
            batch <= queue,
            &[&raw::OTEL_BSP_MAX_EXPORT_BATCH_SIZE, &raw::OTEL_BSP_MAX_QUEUE_SIZE],
            "a batch cannot have more spans than wait",
        );
        let (timeout, delay) = (
            reading.millis(&raw::OTEL_EXPORTER_OTLP_TIMEOUT),
            reading.millis(&raw::OTEL_BSP_SCHEDULE_DELAY),
        );
        let text = reading.text(&raw::OTEL_EXPORTER_OTLP_ENDPOINT).trim();
        if text.is_empty() {
            return None;
        }
        // Not before: whoever sets it for all programs of a machine may mean others.
        let _only = reading.choice(&raw::OTEL_EXPORTER_OTLP_PROTOCOL);
        let base: Option<Uri> = text.parse().ok();
        let base =
            base.filter(|url| url.scheme_str() == Some("http") && url.host().is_some_and(|host| !host.is_empty()));
        let url = base.filter(|url| url.query().is_none()).and_then(|url| {
            let path = url.path().trim_end_matches('/');
            format!("http://{}{path}{PATH}", url.authority()?).parse().ok()
        });
        let Some(url) = url else {
            let what = format_args!("{text:?} is no URL that begins with http://host (there is no TLS)");
            reading.mistake(&raw::OTEL_EXPORTER_OTLP_ENDPOINT, what);
            return None;
        };
        Some(Self {
            url,
            headers,
            timeout,
            queue,
            batch,
            delay,
        })
    }
}

/// `key=value` pairs, separated by commas; in values, bytes may be written as `%` and two digits.
fn read_pairs(reading: &mut Reading<'_>, setting: &'static raw::Setting) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (at, entry) in reading.text(setting).split(',').map(str::trim).enumerate() {
        if entry.is_empty() {
            continue;
        }
        let pair = entry
            .split_once('=')
            .map(|(key, value)| (key.trim(), decode(value.trim())));
        match pair {
            Some((key, Some(value))) if !key.is_empty() => pairs.push((key.to_owned(), value)),
            // Not repeated: it may be a secret.
            _ => reading.mistake(setting, format_args!("entry {} is no key=value", at + 1)),
        }
    }
    pairs
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(
            u8::from_str_radix(digits, 16)
                .ok()
                .filter(|_| !digits.starts_with('+'))?,
        );
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Config};
    use super::*;

    fn load(env: &[(&str, &str)]) -> Result<TraceSettings, Vec<String>> {
        let get = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let named = |name: &str| {
            if name == "NODE_ID" {
                Some("n".to_owned())
            } else {
                get(name)
            }
        };
        match Config::load(std::iter::empty(), named)? {
            Command::Serve(config) => Ok(config.traces),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_collector_nothing_is_traced() {
        assert_eq!(load(&[]).unwrap(), TraceSettings::off());
        let other = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert_eq!(load(&other).unwrap().collector, None);
    }

    #[test]
    fn the_variables_of_opentelemetry_mean_what_they_mean_elsewhere() {
        let settings = load(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, a=b=c"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=a,k8s.pod.name=chat-0,k=%C3%A4%2C",
            ),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ])
        .unwrap();
        let collector = settings.collector.unwrap();
        assert_eq!(collector.url.to_string(), "http://collector:4318/base/v1/traces");
        assert_eq!(collector.headers[0].1, "Bearer x");
        assert_eq!(
            (collector.headers[1].0.as_str(), collector.headers[1].1.as_bytes()),
            ("a", &b"b=c"[..])
        );
        assert_eq!(collector.timeout, Duration::from_millis(7));
        assert!(!format!("{collector:?}").contains("Bearer"));
        assert_eq!(settings.service, "a");
        assert_eq!(settings.attributes[2], ("k".to_owned(), "ä,".to_owned()));
        assert!(settings.sampling.client_decides);
        assert_eq!(settings.sampling.share, Share(1 << 63));
        let named = [
            ("OTEL_SERVICE_NAME", "b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a"),
        ];
        assert_eq!(load(&named).unwrap().service, "b");
    }

    #[test]
    fn every_sampler_has_its_meaning() {
        for (name, client_decides, share) in [
            ("parentbased_traceidratio", true, Share(1 << 62)),
            ("parentbased_always_on", true, Share::ALL),
            ("parentbased_always_off", true, Share::NONE),
            ("traceidratio", false, Share(1 << 62)),
            ("always_on", false, Share::ALL),
            ("always_off", false, Share::NONE),
        ] {
            let env = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
            assert_eq!(
                load(&env).unwrap().sampling,
                Sampling { client_decides, share },
                "{name}"
            );
        }
    }

    #[test]
    fn a_share_is_exact_at_its_ends() {
        assert_eq!(Share::of(0.0), Some(Share::NONE));
        assert_eq!(Share::of(1.0), Some(Share::ALL));
        assert!(Share::ALL.takes(u64::MAX) && !Share::NONE.takes(0));
        for odd in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::of(odd), None, "{odd}");
        }
    }

    #[test]
    fn mistakes_are_told_and_secrets_are_not() {
        let at = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for (env, named) in [
            (("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318"), "there is no TLS"),
            (("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318"), "is no URL"),
            (("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/?a=b"), "is no URL"),
            (("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), "is none of http/protobuf"),
            (("OTEL_EXPORTER_OTLP_HEADERS", "secret"), "entry 1 is no key=value"),
            (("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=%0asecret"), "\"b\" is no header"),
            (("OTEL_EXPORTER_OTLP_HEADERS", "a=%4"), "entry 1 is no key=value"),
            (("OTEL_RESOURCE_ATTRIBUTES", "=x"), "entry 1 is no key=value"),
            (("OTEL_TRACES_SAMPLER", "some"), "is none of"),
            (("OTEL_TRACES_SAMPLER_ARG", "1.5"), "is no number from 0 to 1"),
            (("OTEL_TRACES_SAMPLER_ARG", "NaN"), "is no number from 0 to 1"),
            (("OTEL_BSP_MAX_QUEUE_SIZE", "100"), "more spans than wait"),
        ] {
            let mistakes = load(&[env, at]).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].contains(named), "{mistakes:?}");
            assert!(
                mistakes[0].contains(env.0) && !mistakes[0].contains("secret"),
                "{mistakes:?}"
            );
        }
    }
}
