//! Conditional requests, as RFC 9110 13 has them.

use axum::http::{HeaderMap, StatusCode, header};

use super::text;
use crate::clock::unix_s;
use crate::engine::Details;

/// The tag of a needle, as SeaweedFS writes it.
pub(super) fn tag(details: &Details) -> Option<String> {
    details.etag.map(|crc| format!("\"{crc:08x}\""))
}

/// What is to be answered instead, if a condition does not hold: 304 or 412.
pub(super) fn instead(headers: &HeaderMap, details: &Details) -> Option<StatusCode> {
    let tag = tag(details);
    let lists = |list: &str, weak: bool| {
        let own = tag.as_deref();
        list.trim() == "*"
            || list.split(',').any(|listed| {
                let listed = listed.trim();
                let strong = if weak { listed.strip_prefix("W/").unwrap_or(listed) } else { listed };
                own == Some(strong)
            })
    };
    let modified_since = |date: &str| Some(details.last_modified_s? > unix_s(date)?);
    if let Some(list) = text(headers, header::IF_MATCH) {
        if !lists(list, false) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if text(headers, header::IF_UNMODIFIED_SINCE).and_then(modified_since) == Some(true) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if let Some(list) = text(headers, header::IF_NONE_MATCH) {
        return lists(list, true).then_some(StatusCode::NOT_MODIFIED);
    }
    let unmodified = text(headers, header::IF_MODIFIED_SINCE).and_then(modified_since) == Some(false);
    unmodified.then_some(StatusCode::NOT_MODIFIED)
}

/// Whether a `Range` still counts: `If-Range` names what the client has the rest of.
pub(super) fn range_counts(if_range: &str, details: &Details) -> bool {
    match tag(details) {
        Some(tag) if if_range.starts_with('"') => if_range == tag,
        // A date has seconds, within which a needle may change twice: it is no strong validator.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn said(name: header::HeaderName, value: &str) -> Option<u16> {
        let details =
            Details { etag: Some(0xab), last_modified_s: Some(1_764_000_000), ..Details::default() };
        let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
        instead(&headers, &details).map(|status| status.as_u16())
    }

    #[test]
    fn conditions_are_those_of_the_rfc() {
        let (then, before) = ("Mon, 24 Nov 2025 16:00:00 GMT", "Mon, 24 Nov 2025 15:59:59 GMT");
        for (name, value, status) in [
            (header::IF_NONE_MATCH, "\"000000ab\"", Some(304)),
            (header::IF_NONE_MATCH, "\"x\", W/\"000000ab\"", Some(304)),
            (header::IF_NONE_MATCH, "*", Some(304)),
            (header::IF_NONE_MATCH, "\"000000ac\"", None),
            (header::IF_MODIFIED_SINCE, then, Some(304)),
            (header::IF_MODIFIED_SINCE, before, None),
            (header::IF_MODIFIED_SINCE, "nonsense", None),
            (header::IF_MATCH, "\"000000ab\"", None),
            (header::IF_MATCH, "W/\"000000ab\"", Some(412)),
            (header::IF_MATCH, "\"000000ac\"", Some(412)),
            (header::IF_UNMODIFIED_SINCE, before, Some(412)),
            (header::IF_UNMODIFIED_SINCE, then, None),
        ] {
            assert_eq!(said(name.clone(), value), status, "{name}: {value}");
        }
    }
}
