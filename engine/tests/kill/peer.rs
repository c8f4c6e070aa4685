//! A victim, as the survivor sees it: lines, signals, and an end that never fails to come.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::clock::{MS, now, pause, readable};
use crate::node::{Device, LIMIT_NS, Try};

/// See the module. Dropping it kills the process and reaps it.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    said: Vec<u8>,
    /// Lines that are not answered yet.
    asked: u32,
}

impl Peer {
    pub(crate) fn start(device: &Device) -> Try<Peer> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--victim", &device.transport, &device.protocol]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = (stdin.ok_or("no pipe")?, stdout.ok_or("no pipe")?);
        Ok(Peer { child, stdin, stdout, said: Vec::new(), asked: 0 })
    }

    /// Its process, for whoever sends signals from another thread.
    pub(crate) fn process(&self) -> Process {
        Process(Pid::from_child(&self.child))
    }

    /// Sends a line and does not wait for its answer.
    pub(crate) fn tell(&mut self, line: &str) -> Try<()> {
        self.stdin.write_all(format!("{line}\n").as_bytes())?;
        self.asked += 1;
        Ok(())
    }

    /// Sends a line. Its answer, after those to the lines before.
    pub(crate) fn ask(&mut self, line: &str) -> Try<String> {
        self.tell(line)?;
        let mut answer = String::new();
        while self.asked > 0 {
            answer = self.answer().map_err(|why| format!("{line:.60}: {why}"))?;
        }
        Ok(answer)
    }

    /// Whether the line that was sent last is answered, well.
    pub(crate) fn has_answered(&mut self) -> Try<bool> {
        if !readable(&[self.stdout.as_fd()], 0) {
            return Ok(false);
        }
        while self.asked > 0 {
            self.answer()?;
        }
        Ok(true)
    }

    fn answer(&mut self) -> Try<String> {
        let until = now() + LIMIT_NS;
        let end = loop {
            if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                break end;
            }
            if !readable(&[self.stdout.as_fd()], until.since_ns(now())) {
                return Err("the victim does not answer".into());
            }
            let mut bytes = [0; 1 << 14];
            match self.stdout.read(&mut bytes)? {
                0 => return Err("the victim is gone".into()),
                count => self.said.extend_from_slice(&bytes[..count]),
            }
        };
        let line: Vec<u8> = self.said.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
            ("ok", answer) => {
                self.asked -= 1;
                Ok(answer.to_owned())
            }
            ("err", why) => {
                self.asked -= 1;
                Err(format!("the victim says: {why}").into())
            }
            // UCX has something to say.
            _ => self.answer(),
        }
    }

    /// Kills it, and reaps it: it is dead when this returns.
    pub(crate) fn kill(&mut self) -> Try<()> {
        self.process().kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// It killed itself, or will: waits for that.
    pub(crate) fn await_death(&mut self) -> Try<()> {
        let until = now() + LIMIT_NS;
        while self.child.try_wait()?.is_none() {
            if now() >= until {
                return Err("the victim does not die".into());
            }
            pause(MS);
        }
        Ok(())
    }

    /// Stops it: none of its threads runs when this returns.
    pub(crate) fn stop(&mut self) -> Try<()> {
        self.process().stop()
    }

    /// It stopped itself, or will: waits for that.
    pub(crate) fn await_stop(&mut self) -> Try<()> {
        self.process().await_stop()
    }

    /// Lets it go on.
    pub(crate) fn go_on(&mut self) -> Try<()> {
        Ok(kill_process(self.process().0, Signal::CONT)?)
    }
}

/// A victim that is not reaped as long as this is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(Pid);

impl Process {
    /// Kills it: all of its threads are gone when this returns.
    pub(crate) fn kill(self) -> Try<()> {
        kill_process(self.0, Signal::KILL)?;
        waitid(WaitId::Pid(self.0), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        Ok(())
    }

    /// Stops it: none of its threads runs when this returns.
    pub(crate) fn stop(self) -> Try<()> {
        kill_process(self.0, Signal::STOP)?;
        self.await_stop()
    }

    fn await_stop(self) -> Try<()> {
        let until = now() + LIMIT_NS;
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        while waitid(WaitId::Pid(self.0), options)?.is_none() {
            if now() >= until {
                return Err("the victim does not stop".into());
            }
            pause(MS / 5);
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be dead already, and is reaped once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
