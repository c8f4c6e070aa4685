//! What may happen to a NIC: it is removed, forgets to notify its host, runs out of memory.

use wavetank_contract::error::{RegisterError, SystemError};
use wavetank_contract::{AsyncEvent, QpState};

use super::Nic;
use crate::marks::Mark;

const ENOMEM: i32 = 12;
const ENODEV: i32 = 19;

/// What is wrong with a NIC. Default: nothing.
#[derive(Debug, Default)]
pub(super) struct Faults {
    removed: bool,
    /// The host is not told the next time.
    pub(super) lose_notification: bool,
    /// Registrations that succeed before one fails.
    fail_registration: Option<u32>,
    pub(super) out_of_order: bool,
    pub(super) shuffle: bool,
}

impl Nic {
    /// The device goes: every queue pair dies and flushes, the host is told once. From now on only closing, ending
    /// registrations and polling are legal.
    // rxe: none; what adapters do on hot unplug (`IBV_EVENT_DEVICE_FATAL`, ibv_get_async_event(3)).
    pub(crate) fn remove(&mut self) {
        if self.faults.removed {
            return;
        }
        self.faults.removed = true;
        self.line.clear();
        self.timers.clear();
        for qp in self.qps.iter_mut().flatten() {
            qp.in_line = false;
            if qp.state != QpState::Err {
                qp.fail(&mut self.reports);
            }
            qp.resp.answers.clear();
        }
        self.reports.event(AsyncEvent::DeviceFatal);
        self.shared.marks.pass(Mark::DeviceRemoved);
        self.settle();
    }

    /// Whether the device is gone.
    #[inline]
    pub(crate) fn is_removed(&self) -> bool {
        self.faults.removed
    }

    /// That the device is still there.
    ///
    /// # Errors
    /// That it is gone, in the words of the call that found out.
    #[inline]
    pub(crate) fn present(&self, call: &'static str) -> Result<(), SystemError> {
        if self.faults.removed { Err(gone(call)) } else { Ok(()) }
    }

    /// Keeps the next notification from the host.
    pub(crate) fn lose_notification(&mut self) {
        self.faults.lose_notification = true;
    }

    /// Whether pieces of messages are placed in any order.
    pub(crate) fn place_out_of_order(&mut self, on: bool) {
        self.faults.out_of_order = on;
    }

    /// Whether completions of different queue pairs change places.
    pub(crate) fn shuffle_completions(&mut self, on: bool) {
        self.faults.shuffle = on;
    }

    /// Lets a registration fail after this many more.
    pub(crate) fn fail_registration(&mut self, nth: u32) {
        self.faults.fail_registration = Some(nth);
    }

    /// Whether memory can be locked for a registration.
    ///
    /// # Errors
    /// No: it was to fail.
    pub(crate) fn lock_memory(&mut self) -> Result<(), RegisterError> {
        match &mut self.faults.fail_registration {
            None => Ok(()),
            Some(0) => {
                self.faults.fail_registration = None;
                self.shared.marks.pass(Mark::RegistrationFailed);
                Err(SystemError {
                    call: "ibv_reg_mr(3)",
                    errno: ENOMEM,
                    advice: "memory for it could not be locked; free some, or raise the limit that `ulimit -l` shows",
                }
                .into())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

#[cold]
fn gone(call: &'static str) -> SystemError {
    let advice = "the device was removed: close what is left of it and open another one";
    SystemError { call, errno: ENODEV, advice }
}
