//! Why some cells are never hit.

/// Cells that contain all of these words, and why no run can hit them.
const KNOWN: &[(&[&str], &str)] = &[
    (&["state INIT x"], "connecting takes a queue pair through INIT and RTR to RTS at one instant"),
    (&["state RTR x"], "connecting takes a queue pair through INIT and RTR to RTS at one instant"),
    (&["state SQD x"], "swarm runs drain no send queues; the conformance kit does"),
    (&["state RESET x timeout"], "a queue pair in RESET has no timers"),
    (&["state RESET x receiver waited"], "a queue pair in RESET has no timers"),
    (&["state RESET x"], "a queue pair in RESET has no peer: no packet is for it"),
    (&["state ERR x timeout"], "a queue pair that fails forgets its timers"),
    (&["state ERR x receiver waited"], "a queue pair that fails forgets its timers"),
    (&["state ERR x placed late"], "a queue pair that fails forgets what it kept back"),
    (&["EEC"], "reliable datagrams only"),
    (&["RDD_VIOL"], "reliable datagrams only"),
    (&["REM_INV_RD_REQ"], "reliable datagrams only"),
    (&["REM_ABORT"], "reliable datagrams only"),
    (&["RESP_TIMEOUT"], "reliable datagrams only"),
    (&["MW_BIND_ERR"], "windows are bound by a call, not by a work"),
    (&["x LOC_"], "a bug of the engine: runs would be guilty of it"),
    (&["x BAD_RESP_ERR"], "a bug of the device: runs would be guilty of it"),
    (&["x GENERAL_ERR"], "a bug of the device: runs would be guilty of it"),
    (&["x REM_OP_ERR"], "no receive of a run is invalid: runs would be guilty of it"),
    (&["x REM_INV_REQ_ERR"], "no request of a run is invalid: runs would be guilty of it"),
    (&["x FATAL_ERR"], "a removed device flushes; it does not say more"),
    (&["verb recv x", "RETRY_EXC"], "receives wait for ever"),
    (&["verb recv x REM_"], "receives have no remote side"),
    (&["verb recv x DEADLINE"], "receives have no deadline"),
    (&["verb recv x CANCELLED"], "receives are not given up"),
    (&["verb recv x SESSION_ENDED"], "receives belong to no session"),
    (&["verb send x REM_ACCESS_ERR"], "messages use no key"),
    (&["verb write x RNR_RETRY_EXC_ERR"], "a write without an immediate takes no receive"),
    (&["verb read x RNR_RETRY_EXC_ERR"], "a read takes no receive"),
    (&["verb compare_swap x RNR_RETRY_EXC_ERR"], "an atomic takes no receive"),
    (&["verb fetch_add x RNR_RETRY_EXC_ERR"], "an atomic takes no receive"),
];

/// Why a cell is never hit, if that is known.
pub fn reason(cell: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(words, _)| words.iter().all(|word| cell.contains(word))).map(|(_, reason)| *reason)
}
