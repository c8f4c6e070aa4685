//! Requests byte for byte as upstream's Go client writes them: maps in the order of its structs, integers of full width, and no
//! key for what is not there.

use rmp::encode::{write_bool, write_map_len, write_str, write_u32, write_u64};

use super::message::Message;

/// The body of a request. `None` for what the Go client never says.
pub fn request_as_go(message: &Message) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(256);
    write(&mut body, message)?.ok()?;
    Some(body)
}

type Written = Result<(), rmp::encode::ValueWriteError>;

fn write(to: &mut Vec<u8>, message: &Message) -> Option<Written> {
    let (name, fields) = match message {
        Message::Ping(ping) => ("Ping", 1 + u32::from(ping.client_id.is_some())),
        Message::GetCapabilities(get) => ("GetCapabilities", u32::from(get.client_id.is_some())),
        Message::StartRead(start) => ("StartRead", 8 + u32::from(start.auth_token.is_some())),
        Message::CompleteRead(done) => {
            let optional = u32::from(done.client_crc.is_some()) + u32::from(done.error_message.is_some());
            ("CompleteRead", 3 + optional)
        }
        _ => return None,
    };
    Some(head(to, name, fields).and_then(|()| body(to, message)))
}

fn head(to: &mut Vec<u8>, name: &str, fields: u32) -> Written {
    write_map_len(to, 2)?;
    write_str(to, "type")?;
    write_str(to, name)?;
    write_str(to, "data")?;
    write_map_len(to, fields)?;
    Ok(())
}

fn body(to: &mut Vec<u8>, message: &Message) -> Written {
    match message {
        Message::Ping(ping) => {
            long(to, "timestamp_ns", ping.timestamp_ns)?;
            text(to, "client_id", ping.client_id.as_deref())
        }
        Message::GetCapabilities(get) => text(to, "client_id", get.client_id.as_deref()),
        Message::StartRead(start) => {
            half(to, "volume_id", start.volume_id)?;
            long(to, "needle_id", start.needle_id)?;
            half(to, "cookie", start.cookie)?;
            long(to, "offset", start.offset)?;
            long(to, "size", start.size)?;
            long(to, "remote_addr", start.remote_addr)?;
            half(to, "remote_key", start.remote_key)?;
            long(to, "timeout_secs", start.timeout_secs)?;
            text(to, "auth_token", start.auth_token.as_deref())
        }
        Message::CompleteRead(done) => {
            text(to, "session_id", Some(&done.session_id))?;
            write_str(to, "success")?;
            write_bool(to, done.success).map_err(rmp::encode::ValueWriteError::InvalidDataWrite)?;
            long(to, "bytes_transferred", done.bytes_transferred)?;
            if let Some(crc) = done.client_crc {
                half(to, "client_crc", crc)?;
            }
            text(to, "error_message", done.error_message.as_deref())
        }
        _ => Ok(()),
    }
}

fn long(to: &mut Vec<u8>, key: &str, value: u64) -> Written {
    write_str(to, key)?;
    write_u64(to, value)
}

fn half(to: &mut Vec<u8>, key: &str, value: u32) -> Written {
    write_str(to, key)?;
    write_u32(to, value)
}

fn text(to: &mut Vec<u8>, key: &str, value: Option<&str>) -> Written {
    let Some(value) = value else { return Ok(()) };
    write_str(to, key)?;
    write_str(to, value)
}
