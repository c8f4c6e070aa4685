//! Users and groups, by name or number.

use wavetank_settings::BadSetting;

/// A user's number.
pub(super) fn uid_of(user: &str) -> Result<u32, BadSetting> {
    let named = || uzers::get_user_by_name(user).map(|user| user.uid());
    user.parse()
        .ok()
        .or_else(named)
        .ok_or_else(|| BadSetting { setting: "ipc-allow", why: format!("there is no user {user:?} here") })
}

/// A group's number.
pub(super) fn gid_of(group: &str) -> Result<u32, BadSetting> {
    let named = || uzers::get_group_by_name(group).map(|group| group.gid());
    group
        .parse()
        .ok()
        .or_else(named)
        .ok_or_else(|| BadSetting { setting: "ipc-group", why: format!("there is no group {group:?} here") })
}
