//! The limit on file descriptors. Programs are started with a soft limit of 1024 for the sake of `select`, which we do not use; a port
//! needs one descriptor per connection.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard limit, and returns the limit that applies; nothing if the kernel does not say.
pub fn raise_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Some(if raised { hard } else { soft })
}
