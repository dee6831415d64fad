//! `/log-level`: what is logged, to be changed by whoever is on this machine.

use super::{Caller, plain};
use crate::telemetry::{LevelError, log_level, set_log_level};
use http::{HeaderMap, Response, StatusCode, header};
use tracing::level_filters::LevelFilter;
use warp::Filter;
use warp::filters::BoxedFilter;

/// `GET /log-level` says it, `PUT /log-level/debug` changes it.
pub(super) fn routes() -> BoxedFilter<(Response<String>,)> {
    let tell = warp::path!("log-level").and(warp::get()).map(|| answer(log_level()));
    let set = warp::path!("log-level" / String)
        .and(warp::put())
        .and(warp::ext::get::<Caller>())
        .and(warp::header::headers_cloned())
        .map(|level: String, caller: Caller, headers: HeaderMap| {
            if may_change(caller, &headers) {
                answer(set_log_level(&level))
            } else {
                plain(StatusCode::FORBIDDEN, "only from this machine\n".into())
            }
        });
    tell.or(set).unify().boxed()
}

/// Programs of this machine, but not on behalf of a page that a browser shows here: every browser says from where such a page is.
fn may_change(caller: Caller, headers: &HeaderMap) -> bool {
    caller == Caller::Near && !headers.contains_key(header::ORIGIN)
}

fn answer(level: Result<LevelFilter, LevelError>) -> Response<String> {
    match level {
        Ok(level) => plain(StatusCode::OK, format!("{level}\n")),
        Err(LevelError::NoLevel) => plain(
            StatusCode::BAD_REQUEST,
            "expected off, error, warn, info, debug or trace\n".into(),
        ),
        Err(LevelError::NoLog) => plain(StatusCode::SERVICE_UNAVAILABLE, "there is no log\n".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_of_this_machine_changes_something() {
        let plain = HeaderMap::new();
        let mut of_a_page = HeaderMap::new();
        of_a_page.insert(header::ORIGIN, header::HeaderValue::from_static("null"));
        assert!(may_change(Caller::Near, &plain));
        assert!(!may_change(Caller::Far, &plain));
        assert!(!may_change(Caller::Near, &of_a_page));
    }
}
