//! The memory of the process, as Linux reports it.

/// Returns a line of `/proc/self/status` in MiB: `VmRSS:` is the resident memory now, `VmHWM:` its maximum so far.
pub(crate) fn memory_mib(line: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|text| text.starts_with(line))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
