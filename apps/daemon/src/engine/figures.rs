//! Counts of an engine, for metrics.

use super::Parts;
use crate::health::Figure;

/// All of them, from wherever they are kept.
pub(super) fn figures(parts: &Parts) -> Vec<Figure> {
    let mut all = Vec::new();
    let mut put = |total: bool, name: &'static str, help: &'static str, value: u64| {
        all.push(Figure { name, help, total, value });
    };
    let stats = parts.server.stats();
    put(true, "client_connections", "Connections of local programs", stats.connections.get());
    put(false, "client_connections_now", "Local programs that are connected", stats.connections_now.get());
    put(
        true,
        "client_refused_by_credentials",
        "Refused for who they are",
        stats.refused_by_credentials.get(),
    );
    put(true, "client_refused_by_number", "Refused for how many there are", stats.refused_by_number.get());
    put(
        true,
        "client_ended_by_deadline",
        "Ended for silence or for taking nothing",
        stats.ended_by_deadline.get(),
    );
    put(true, "client_ended_by_protocol", "Ended for what they said", stats.ended_by_protocol.get());
    put(true, "client_reads_seaweedfs", "Reads in SeaweedFS's protocol", stats.reads_seaweed.get());
    put(true, "client_reads_native", "Reads over the socket", stats.reads_native.get());
    put(true, "client_reads_ring", "Reads through rings", stats.reads_ring.get());
    put(true, "client_pings", "Pings over the socket", stats.pings.get());
    put(true, "client_cancels", "Reads that were cancelled", stats.cancels.get());
    put(true, "client_read_bytes", "Bytes read for local programs", stats.read_bytes.get());
    put(false, "client_rings_now", "Rings there are", stats.rings_now.get());
    put(false, "leases_now", "Loans of memory to local programs, sessions included", stats.leases_now.get());
    put(true, "sessions", "Sessions of SeaweedFS's protocol", stats.sessions.get());
    put(true, "sessions_expired", "Sessions that ended by their time", stats.sessions_expired.get());
    put(false, "sessions_now", "Sessions there are", stats.sessions_now.get());
    put(true, "session_completes", "Sessions that their clients completed", stats.completes.get());
    put(
        true,
        "session_completes_failed",
        "Of those, with a wrong count or checksum",
        stats.completes_failed.get(),
    );

    let reader = parts.reading.reader();
    let read = reader.stats();
    put(false, "reads_now", "Reads under way", parts.reading.under_way());
    put(true, "reader_failures", "Reads that brought nothing", read.failures);
    put(
        true,
        "reader_attempts_failed",
        "Attempts that failed, whatever came of their reads",
        read.attempts_failed,
    );
    put(true, "reader_corrupt", "Answers that came damaged, and that nobody saw", read.corrupt);
    put(true, "reader_connections", "Connections to other engines", read.connections);
    put(true, "reader_grants", "Grants to read one-sided", read.grants);
    put(false, "reader_grants_now", "Grants that are kept", reader.grants() as u64);

    let messenger = reader.messenger();
    let extents = messenger.with(|messenger| messenger.extents());
    put(false, "exposed_bytes", "Memory that peers may write", extents.in_use_bytes);
    put(false, "exposed_free_bytes", "Memory that is kept for that", extents.free_bytes);
    put(
        false,
        "exposed_retiring_bytes",
        "Memory of ended connections that is still used",
        extents.retiring_bytes,
    );
    put(true, "exposed_refusals", "Memory that was asked for and not had", extents.refusals);

    if let Some(exporter) = &parts.exporter {
        let stats = exporter.stats();
        put(true, "export_admitted", "Engines that were let in", stats.admitted);
        put(true, "export_refused", "Engines without the key", stats.refused);
        put(true, "export_unheard", "Calls of engines that were not let in", stats.unheard);
        put(true, "export_pushes", "Reads answered with data", stats.pushes);
        put(true, "export_push_bytes", "Bytes of them", stats.push_bytes);
        put(true, "export_absent", "Reads of what is not there", stats.absent);
        put(true, "export_busy", "Reads answered as busy", stats.busy);
        put(true, "export_grants", "Grants to read one-sided", stats.grants);
        put(true, "export_changes", "Times that volumes were found changed", stats.changes);
        let segments = exporter.segment_stats();
        put(false, "export_segments", "Segments that others read one-sided", segments.segments.into());
    }
    all
}
