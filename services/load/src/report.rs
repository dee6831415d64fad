//! What a run found, for people and for programs.

use crate::scenario::{Pace, Scenario};
use crate::tally::Tally;
use crate::violations::Violations;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many values there are.
    pub count: u64,
    /// Half of the values are at most this.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// All of them.
    pub max: f64,
}

impl Percentiles {
    fn of(micros: &Histogram<u64>) -> Self {
        let millis = |value: u64| value as f64 / 1_000.0;
        let at = |quantile| millis(micros.value_at_quantile(quantile));
        Self {
            count: micros.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: if micros.is_empty() { 0.0 } else { millis(micros.max()) },
        }
    }
}

/// What servers on this machine used within the measured window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServerCost {
    /// User and system time of all of them.
    pub cpu_seconds: f64,
    /// The same for each second: 1.0 is one core.
    pub cores: f64,
    /// The same for each delivery, in µs; 0 without deliveries.
    pub cpu_micros_per_delivery: f64,
    /// Resident memory at the end of the window, in bytes.
    pub rss_bytes: u64,
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was done, in words.
    pub scenario: String,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Messages sent, warm-up included.
    pub sent: u64,
    /// Messages confirmed, warm-up included.
    pub acked: u64,
    /// Deliveries, warm-up included.
    pub delivered: u64,
    /// Messages refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Confirmations per second within the window.
    pub acked_per_second: f64,
    /// Deliveries per second within the window.
    pub delivered_per_second: f64,
    /// From the intended time of sending to the confirmation, in ms.
    pub ack_latency_ms: Percentiles,
    /// From the intended time of sending to each delivery, in ms.
    pub delivery_latency_ms: Percentiles,
    /// From the intended time until the message was handed to the socket, in ms; part of the latencies above. At a rate
    /// that the server can bear it is this tool's own lateness; beyond, the time for which the server took no more.
    pub send_lag_ms: Percentiles,
    /// Longest time within the window without a confirmation, in ms.
    pub longest_pause_ms: f64,
    /// With process ids only.
    pub server: Option<ServerCost>,
    /// What this tool used within the window, in cores.
    pub own_cores: f64,
    /// Broken promises.
    pub violations: Violations,
}

/// What was measured, before it is put into words.
pub(crate) struct Measured {
    pub(crate) tally: Tally,
    pub(crate) violations: Violations,
    pub(crate) longest_pause_micros: u64,
    /// CPU seconds and memory of the servers, if there are process ids.
    pub(crate) server: Option<(f64, u64)>,
    pub(crate) own_cpu_seconds: f64,
}

impl Report {
    pub(crate) fn new(scenario: &Scenario, measured: Measured) -> Self {
        let Measured {
            tally,
            violations,
            longest_pause_micros,
            server,
            own_cpu_seconds,
        } = measured;
        let seconds = scenario.measured.as_secs_f64();
        let server = server.map(|(cpu_seconds, rss_bytes)| ServerCost {
            cpu_seconds,
            cores: cpu_seconds / seconds,
            cpu_micros_per_delivery: match tally.delivered_in_window {
                0 => 0.0,
                deliveries => cpu_seconds * 1e6 / deliveries as f64,
            },
            rss_bytes,
        });
        Self {
            scenario: in_words(scenario),
            seconds,
            sent: tally.sent,
            acked: tally.acked,
            delivered: tally.delivered,
            acked_per_second: tally.acked_in_window as f64 / seconds,
            delivered_per_second: tally.delivered_in_window as f64 / seconds,
            ack_latency_ms: Percentiles::of(&tally.ack_latency),
            delivery_latency_ms: Percentiles::of(&tally.delivery_latency),
            send_lag_ms: Percentiles::of(&tally.send_lag),
            longest_pause_ms: longest_pause_micros as f64 / 1_000.0,
            server,
            own_cores: own_cpu_seconds / seconds,
            refused: tally.refused,
            violations,
        }
    }

    /// Whether nothing was broken.
    #[must_use]
    pub fn promises_kept(&self) -> bool {
        self.violations.is_empty()
    }

    /// For programs: one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers, texts and maps with text keys always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = vec![
            format!("scenario         {}", self.scenario),
            format!(
                "sent             {} ({} confirmed, {} deliveries)",
                self.sent, self.acked, self.delivered
            ),
            format!("confirmed        {:.0}/s", self.acked_per_second),
            format!("delivered        {:.0}/s", self.delivered_per_second),
        ];
        for (code, times) in &self.refused {
            lines.push(format!("refused          {times} with {code}"));
        }
        for (name, p) in [
            ("ack latency", self.ack_latency_ms),
            ("delivery latency", self.delivery_latency_ms),
            ("send lag", self.send_lag_ms),
        ] {
            lines.push(format!(
                "{name:<16} p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3} ms",
                p.p50, p.p90, p.p99, p.p999, p.max
            ));
        }
        lines.push(format!(
            "longest pause    {:.1} ms without a confirmation",
            self.longest_pause_ms
        ));
        if let Some(server) = self.server {
            lines.push(format!(
                "server           {:.2} µs CPU per delivery, {:.2} cores, {:.1} MiB",
                server.cpu_micros_per_delivery,
                server.cores,
                server.rss_bytes as f64 / 1_048_576.0
            ));
        }
        lines.push(format!("this tool        {:.2} cores", self.own_cores));
        lines.push(self.verdict());
        lines.join("\n")
    }

    fn verdict(&self) -> String {
        if self.promises_kept() {
            return "promises         all kept".into();
        }
        let mut text = String::from("promises         BROKEN");
        for (kind, times) in &self.violations.counts {
            let _infallible = write!(text, "\n  {times} × {kind:?}");
        }
        for words in &self.violations.first {
            let _infallible = write!(text, "\n  - {words}");
        }
        text
    }
}

fn in_words(scenario: &Scenario) -> String {
    let Scenario {
        targets,
        rooms,
        members,
        senders,
        size,
        ..
    } = scenario;
    let pace = match scenario.pace {
        Pace::Open(rate) => format!("{rate} messages/s"),
        Pace::Closed => "each sender as fast as it is answered".into(),
    };
    let seconds = scenario.measured.as_secs_f64();
    format!(
        "{rooms} rooms × {members} members ({senders} send), {pace}, {size} bytes, {seconds} s, {}",
        targets.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::violations::Kind;
    use std::time::Duration;

    fn scenario() -> Scenario {
        Scenario {
            dialect: crate::args::Dialect::Classic,
            targets: vec!["ws://a".into()],
            create_on: crate::scenario::CreateOn::Each,
            rooms: 1,
            members: 10,
            senders: 1,
            pace: Pace::Open(100.0),
            measured: Duration::from_secs(2),
            warmup: Duration::ZERO,
            drain: Duration::from_secs(1),
            size: 100,
            threads: 1,
            server_pids: vec![],
        }
    }

    fn measured(violations: Violations) -> Measured {
        let mut tally = Tally::new();
        (
            tally.sent,
            tally.acked,
            tally.acked_in_window,
            tally.delivered_in_window,
        ) = (210, 200, 200, 2_000);
        tally.refused("NOT_MEMBER");
        (1..=1_000).for_each(|n| tally.ack_latency.saturating_record(n * 1_000));
        Measured {
            tally,
            violations,
            longest_pause_micros: 12_500,
            server: Some((0.02, 1 << 20)),
            own_cpu_seconds: 1.0,
        }
    }

    #[test]
    fn rates_and_costs_are_those_of_the_window() {
        let report = Report::new(&scenario(), measured(Violations::default()));
        assert!(report.promises_kept());
        assert_eq!(
            (report.acked_per_second, report.delivered_per_second, report.own_cores),
            (100.0, 1_000.0, 0.5)
        );
        let server = report.server.unwrap();
        assert!((server.cpu_micros_per_delivery - 10.0).abs() < 1e-9 && (server.cores - 0.01).abs() < 1e-9);
        let p = report.ack_latency_ms;
        assert!((p.p50 - 500.0).abs() < 1.0 && (p.p999 - 999.0).abs() < 1.0 && (p.max - 1_000.0).abs() < 1.0);
        assert_eq!(report.delivery_latency_ms.max, 0.0);
        let text = report.to_text();
        assert!(
            text.contains("10.00 µs CPU per delivery") && text.ends_with("all kept"),
            "{text}"
        );
    }

    #[test]
    fn broken_promises_stand_in_both_forms() {
        let mut violations = Violations::default();
        violations.add(Kind::OutOfOrder, 3, || "room 0 member 1: …".into());
        let report = Report::new(&scenario(), measured(violations));
        assert!(!report.promises_kept());
        assert!(
            report
                .to_text()
                .contains("BROKEN\n  3 × OutOfOrder\n  - room 0 member 1: …")
        );
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["violations"]["counts"]["out_of_order"], 3);
        assert_eq!(json["refused"]["NOT_MEMBER"], 1);
        assert_eq!(json["longest_pause_ms"], 12.5);
    }
}
