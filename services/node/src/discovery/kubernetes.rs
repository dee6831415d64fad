//! Peers by the endpoint slices of the headless Service, over the Kubernetes API.
//!
//! A watch tells changes at once. It is trusted for a while only: however quiet or broken it is, the slices are listed
//! anew after that. Errors have delays of their own here, because the watcher of the library tries again at once.

mod slices;

pub(super) use slices::PORT_NAME;

use super::{Reason, Report, Source, about};
use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Error};
use slices::Slices;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// Waits of a source.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Longest wait for a complete list.
    list: Duration,
    /// How long a watch is trusted.
    watch: Duration,
    /// After the first error.
    first_retry: Duration,
    /// After many errors.
    last_retry: Duration,
    /// After a refusal that only a person can change.
    forbidden: Duration,
}

const PATIENCE: Patience = Patience {
    list: Duration::from_secs(15),
    watch: Duration::from_secs(60),
    first_retry: Duration::from_millis(500),
    last_retry: Duration::from_secs(30),
    forbidden: Duration::from_secs(60),
};

/// Slices per page of a list, each with at most 100 endpoints.
const PAGE: u32 = 100;

pub(super) struct Kubernetes {
    service: String,
    namespace: String,
    patience: Patience,
    /// Where the API is, if not where the pod is told.
    config: Option<kube::Config>,
    /// A refusal is said once.
    said_forbidden: bool,
}

/// How one watch ended.
enum Ended {
    /// Its time is over; nothing is wrong.
    Trusted,
    /// Nobody listens any more.
    Unheard,
    /// It failed. True if it had a complete list before.
    Failed(Reason, String, bool),
}

impl Kubernetes {
    pub(super) const fn new(service: String, namespace: String) -> Self {
        Self {
            service,
            namespace,
            patience: PATIENCE,
            config: None,
            said_forbidden: false,
        }
    }

    /// The API as a pod reaches it.
    ///
    /// A connection is given up well after the watch on it is: a quiet one would otherwise end in both ways at the same moment, and
    /// on a busy machine now and then as an error, though nothing is wrong.
    fn config(&self) -> Result<kube::Config, String> {
        let mut config = match &self.config {
            Some(config) => config.clone(),
            None => kube::Config::incluster().map_err(|why| why.to_string())?,
        };
        config.connect_timeout = Some(self.patience.list);
        config.read_timeout = Some(self.patience.watch + self.patience.list);
        Ok(config)
    }

    /// Lists and watches once.
    async fn watch(&self, reports: &mpsc::Sender<Report>) -> Ended {
        let client = self
            .config()
            .and_then(|config| Client::try_from(config).map_err(|why| why.to_string()));
        let client = match client {
            Ok(client) => client,
            Err(why) => return Ended::Failed(Reason::Refused, why, false),
        };
        let api: Api<EndpointSlice> = Api::namespaced(client, &self.namespace);
        let wanted = watcher::Config::default()
            .labels(&format!("kubernetes.io/service-name={}", self.service))
            .page_size(PAGE);
        let mut events = pin!(watcher(api, wanted));
        let mut slices = Slices::default();
        let mut complete = false;
        let mut deadline = Instant::now() + self.patience.list;
        loop {
            let event = match timeout_at(deadline, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(why))) => {
                    let (reason, why) = judge(&why);
                    return Ended::Failed(reason, why, complete);
                }
                Ok(None) => return Ended::Failed(Reason::Unreachable, "the watch ended".into(), complete),
                Err(_) if complete => return Ended::Trusted,
                Err(_) => return Ended::Failed(Reason::Unreachable, "no list in time".into(), false),
            };
            match event {
                // A list of its own, because the version that it watched from is gone.
                Event::Init => {
                    slices = Slices::default();
                    complete = false;
                }
                Event::InitApply(slice) | Event::Apply(slice) => slices.put(slice),
                Event::Delete(slice) => slices.remove(&slice),
                Event::InitDone => {
                    complete = true;
                    deadline = Instant::now() + self.patience.watch;
                }
            }
            if complete && reports.send(Report::List(slices.list())).await.is_err() {
                return Ended::Unheard;
            }
        }
    }

    fn say_forbidden(&mut self, why: &str) {
        if !std::mem::replace(&mut self.said_forbidden, true) {
            let account = why
                .split_once("User \"")
                .and_then(|(_, rest)| rest.split('"').next())
                .unwrap_or("system:serviceaccount:NAMESPACE:NAME");
            tracing::error!(
                why,
                "the API server does not let this node list its peers; DNS is asked meanwhile. To look at it: kubectl auth \
                 can-i list endpointslices.discovery.k8s.io --namespace {} --as {account}",
                self.namespace
            );
        }
    }
}

impl Source for Kubernetes {
    fn run(mut self: Box<Self>, reports: mpsc::Sender<Report>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut retry = self.patience.first_retry;
            loop {
                let (reason, why) = match self.watch(&reports).await {
                    Ended::Unheard => return,
                    Ended::Trusted => {
                        retry = self.patience.first_retry;
                        self.said_forbidden = false;
                        continue;
                    }
                    Ended::Failed(reason, why, was_complete) => {
                        if was_complete {
                            retry = self.patience.first_retry;
                            self.said_forbidden = false;
                        }
                        (reason, why)
                    }
                };
                let mut delay = retry;
                if reason == Reason::Forbidden {
                    self.say_forbidden(&why);
                    delay = self.patience.forbidden;
                }
                if reports.send(Report::Trouble(reason, why)).await.is_err() {
                    return;
                }
                sleep(about(delay)).await;
                retry = (retry * 2).min(self.patience.last_retry);
            }
        })
    }
}

/// What kind of error it is.
fn judge(why: &watcher::Error) -> (Reason, String) {
    let reason = match why {
        watcher::Error::InitialListFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status))
        | watcher::Error::WatchFailed(Error::Api(status))
        | watcher::Error::WatchError(status) => match status.code {
            401 | 403 => Reason::Forbidden,
            _ => Reason::Refused,
        },
        _ => Reason::Unreachable,
    };
    (reason, why.to_string())
}

#[cfg(test)]
mod tests;
