//! A timer of microseconds. Tokio's counts milliseconds, which would appear in every latency.

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

pub(crate) struct Timer {
    file: AsyncFd<OwnedFd>,
}

impl Timer {
    /// Must be called within a tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let file = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        // The successor is an unsafe function, for types whose descriptor may change under the reactor. An `OwnedFd` keeps
        // its descriptor until it is dropped, and this crate has no unsafe code.
        #[expect(deprecated, reason = "the only safe way to wait for a timerfd; see above")]
        let file = AsyncFd::new(file)?;
        Ok(Self { file })
    }

    pub(crate) async fn sleep(&self, time: Duration) -> io::Result<()> {
        // Zero would switch the timer off.
        let time = time.max(Duration::from_nanos(1));
        let it_value = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(
            self.file.get_ref(),
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval, it_value },
        )?;
        loop {
            let mut ready = self.file.readable().await?;
            let read = |file: &AsyncFd<OwnedFd>| Ok(rustix::io::read(file.get_ref(), &mut [0_u8; 8])?);
            if let Ok(read) = ready.try_io(read) {
                return read.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn it_wakes_not_before_the_time() {
        let timer = Timer::new().unwrap();
        for micros in [0, 200, 3_000] {
            let (time, start) = (Duration::from_micros(micros), Instant::now());
            timer.sleep(time).await.unwrap();
            assert!(start.elapsed() >= time);
        }
    }
}
