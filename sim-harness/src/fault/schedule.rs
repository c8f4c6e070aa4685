//! Fault schedules as files.
