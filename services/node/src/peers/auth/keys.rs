//! The key file: one key, or two while one takes the place of the other. The first signs, both are believed.

use crate::telemetry::metrics::PeerAuthMetrics;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Largest key file, in bytes.
const MAX_FILE: u64 = 4 << 10;
/// Longest key, in characters.
const MAX_KEY: usize = 256;
/// Shortest key of hexadecimal digits: 32 bytes.
const MIN_HEX: usize = 64;
/// Shortest key of base64 characters: 32 bytes.
const MIN_BASE64: usize = 43;
/// A random key of that length has more different characters than this, as good as always.
const FEW: usize = 8;

/// One key. Nothing shows what it is.
#[derive(Clone)]
pub(crate) struct Key(Arc<Hmac<Sha256>>);

impl Key {
    fn new(text: &str) -> Self {
        Self(Arc::new(
            Hmac::new_from_slice(text.as_bytes()).expect("a key may have any length"),
        ))
    }

    /// The beginning of a MAC under this key.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        (*self.0).clone()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The keys of one moment.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    first: Key,
    second: Option<Key>,
}

impl Keys {
    /// Reads the text of a key file. Empty lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// What is wrong with it. Nothing of a key is repeated.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            check(line).map_err(|why| format!("line {} {why}", number + 1))?;
            keys.push(line);
        }
        match keys[..] {
            [] => Err("has no key".into()),
            [first] => Ok(Self {
                first: Key::new(first),
                second: None,
            }),
            [first, second] if first == second => Err("has the same key twice".into()),
            [first, second] => Ok(Self {
                first: Key::new(first),
                second: Some(Key::new(second)),
            }),
            _ => Err("has more than two keys".into()),
        }
    }

    /// The one that signs.
    pub(crate) fn first(&self) -> &Key {
        &self.first
    }

    /// Those that are believed.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.second)
    }
}

fn check(key: &str) -> Result<(), String> {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'=');
    if !key.bytes().all(base64) {
        return Err("is no key of hexadecimal digits or base64".into());
    }
    let hex = key.bytes().all(|b| b.is_ascii_hexdigit());
    let (least, what) = if hex {
        (MIN_HEX, "hexadecimal digits")
    } else {
        (MIN_BASE64, "base64 characters")
    };
    if key.len() < least {
        return Err(format!("is too short for a key: 32 bytes are {least} {what}"));
    }
    if key.len() > MAX_KEY {
        return Err(format!("is longer than {MAX_KEY} characters"));
    }
    let different: std::collections::BTreeSet<u8> = key.bytes().collect();
    if different.len() < FEW {
        return Err("is no random key".into());
    }
    Ok(())
}

/// The keys of a node, which may be changed while it runs.
#[derive(Debug)]
pub(crate) struct KeyRing(RwLock<Arc<Keys>>);

impl KeyRing {
    pub(crate) fn new(keys: Keys) -> Self {
        Self(RwLock::new(Arc::new(keys)))
    }

    /// The keys of now.
    pub(crate) fn now(&self) -> Arc<Keys> {
        // One pointer: it is whole whatever panicked.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, keys: Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

/// Reads a key file.
///
/// # Errors
/// Why it cannot be read, or is longer than 4 KiB, or no text.
pub(crate) fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|why| format!("cannot be opened: {why}"))?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|why| format!("cannot be read: {why}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is longer than {MAX_FILE} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is no text".into())
}

/// Looks at a key file again and again, until it is aborted. Its whole content is compared: a volume of Kubernetes is changed by a link that
/// points elsewhere, and a file that was written within one tick of the clock looks unchanged by its time. What is wrong with
/// a new content is said once, and the old keys stay.
pub(crate) async fn watch(
    path: PathBuf,
    mut last: String,
    ring: Arc<KeyRing>,
    metrics: PeerAuthMetrics,
    every: Duration,
) {
    let mut trouble = String::new();
    loop {
        tokio::time::sleep(every).await;
        let from = path.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || read_file(&from)).await else {
            continue;
        };
        let parsed = match read {
            Ok(text) if text == last => {
                trouble.clear();
                continue;
            }
            Ok(text) => Keys::parse(&text).map(|keys| (text, keys)),
            Err(why) => Err(why),
        };
        match parsed {
            Ok((text, keys)) => {
                let count = keys.all().count();
                ring.set(keys);
                last = text;
                trouble.clear();
                metrics.keys.set(i64::try_from(count).unwrap_or(i64::MAX));
                metrics.reloads_ok.inc();
                tracing::info!(keys = count, "the key file changed and is in use");
            }
            Err(why) if why != trouble => {
                metrics.reloads_failed.inc();
                tracing::error!(file = %path.display(), %why, "the key file cannot be used; the keys of before stay in use");
                trouble = why;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn one_or_two_keys_are_read_and_the_first_signs() {
        assert_eq!(Keys::parse(HEX).unwrap().all().count(), 1);
        let keys = Keys::parse(&format!("# new\r\n{BASE64}\r\n\n  {HEX}  \n")).unwrap();
        assert_eq!(keys.all().count(), 2);
        let mac = |key: &Key| key.mac().finalize().into_bytes();
        assert_eq!(mac(keys.first()), mac(Keys::parse(BASE64).unwrap().first()));
        assert_ne!(mac(keys.first()), mac(Keys::parse(HEX).unwrap().first()));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        for (text, expected) in [
            ("", "has no key"),
            ("# nothing\n", "has no key"),
            (
                &HEX[..63],
                "line 1 is too short for a key: 32 bytes are 64 hexadecimal digits",
            ),
            (
                "Passw0rd",
                "line 1 is too short for a key: 32 bytes are 43 base64 characters",
            ),
            ("correct horse", "line 1 is no key of hexadecimal digits or base64"),
            (&"0".repeat(64), "line 1 is no random key"),
            (&HEX.repeat(5), "line 1 is longer than 256 characters"),
            (&format!("{HEX}\n{HEX}"), "has the same key twice"),
            (&format!("{HEX}\n{BASE64}\n{BASE64}A"), "has more than two keys"),
        ] {
            assert_eq!(Keys::parse(text).unwrap_err(), expected);
        }
        assert_eq!(format!("{:?}", Key::new(HEX)), "Key");
    }

    #[test]
    fn a_file_that_is_too_long_or_missing_or_no_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(read_file(&path).unwrap_err().starts_with("cannot be opened"));
        std::fs::write(&path, vec![b'a'; 4097]).unwrap();
        assert_eq!(read_file(&path).unwrap_err(), "is longer than 4096 bytes");
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_file(&path).unwrap_err(), "is no text");
    }
}
