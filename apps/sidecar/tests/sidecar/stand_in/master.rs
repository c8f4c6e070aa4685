//! A master: it says where volumes are, or does not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::{Answers, Head, Reply};

/// How it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It leads.
    #[default]
    Leads,
    /// It is warming up.
    Warming,
    /// It sends on to another.
    Follows(String),
    /// It says what is no answer.
    Babbles,
    /// It says nothing.
    Silent,
}

/// The stand-in.
#[derive(Debug, Default)]
pub(crate) struct StandInMaster {
    /// `HOST:PORT` of servers by volume, with their data centres.
    pub(crate) volumes: Mutex<BTreeMap<u32, Vec<(String, String)>>>,
    pub(crate) mood: Mutex<Mood>,
    /// What authorizes to read.
    pub(crate) word: Option<String>,
    pub(crate) asked: AtomicU64,
}

#[async_trait]
impl Answers for StandInMaster {
    async fn answer(&self, head: &Head) -> Reply {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.mood.lock().unwrap().clone() {
            Mood::Leads => {}
            Mood::Warming => {
                return Reply::status(503).with("Retry-After", "7").body(r#"{"error":"warming up"}"#);
            }
            Mood::Follows(leader) => {
                return Reply::status(307).with("Location", format!("http://{leader}{}", head.path));
            }
            Mood::Babbles => return Reply::status(200).body("<html>"),
            Mood::Silent => return Reply { silent: true, ..Reply::default() },
        }
        let Some(query) = head.path.strip_prefix("/dir/lookup?") else { return Reply::status(404) };
        let value = |name| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let id = value("volumeId").or_else(|| value("fileId")).unwrap_or_default();
        let volume: Option<u32> = id.split(',').next().and_then(|volume| volume.parse().ok());
        let volumes = self.volumes.lock().unwrap();
        let Some(servers) = volume.and_then(|volume| volumes.get(&volume)) else {
            return Reply::status(404)
                .body(format!(r#"{{"volumeOrFileId":"{id}","error":"volume id {id} not found"}}"#));
        };
        let location = |(url, data_center): &(String, String)| {
            format!(r#"{{"url":"{url}","publicUrl":"{url}","dataCenter":"{data_center}","grpcPort":18080}}"#)
        };
        let locations: Vec<_> = servers.iter().map(location).collect();
        let body = format!(r#"{{"volumeOrFileId":"{id}","locations":[{}]}}"#, locations.join(","));
        let reply = Reply::status(200).with("Content-Type", "application/json").body(body);
        match (&self.word, value("fileId"), value("read")) {
            (Some(word), Some(_), Some("yes")) => reply.with("Authorization", format!("Bearer {word}")),
            _ => reply,
        }
    }
}
