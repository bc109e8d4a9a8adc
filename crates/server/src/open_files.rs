//! How many files, connections among them, the operating system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are no connections: databases, logs, what is between roles.
const RESERVE: u64 = 500;

/// Allows this process all the files that it may allow itself, and says what is missing if those are
/// too few for so many connections, and ports for media. `None` if there are enough.
pub fn allow(max_connections: usize, ports: usize) -> Option<String> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum;
    if limit.current != most {
        // Within the hard limit nobody refuses it; where somebody does, what there was remains.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    }
    let wanted =
        u64::try_from(max_connections.saturating_add(ports)).unwrap_or(u64::MAX).saturating_add(RESERVE);
    let has = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    (has < wanted).then(|| {
        format!(
            "This process may have {has} files open, which is too few for max_connections = {max_connections} and \
             {ports} ports of [media]. Raise the limit to {wanted} (LimitNOFILE in a systemd unit, ulimit -n in a \
             shell), or lower the settings."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_are_told_with_the_remedy() {
        assert_eq!(allow(1, 1), None);
        let most = usize::MAX;
        if let Some(sentence) = allow(most, 1) {
            assert!(sentence.contains("LimitNOFILE") && sentence.contains("max_connections"), "{sentence}");
        }
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum, "all that may be is allowed");
    }
}
