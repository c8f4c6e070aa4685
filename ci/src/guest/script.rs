//! The script that a guest, or this machine in its place, runs: environment, network, command.

use super::net::Net;

/// The code of a script that did not come as far as its command.
pub(crate) const NO_NET: i32 = 97;

/// What to run, and where in the network.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Made first, if any.
    pub(crate) net: Option<Net>,
    /// Set for the command.
    pub(crate) env: Vec<(String, String)>,
    /// Where the command runs, if not in the folder it may leave files in.
    pub(crate) folder: Option<String>,
    /// The command. One word alone is a line for bash, so that it may be a small script itself.
    pub(crate) command: Vec<String>,
}

impl Script {
    /// A line of shell alone.
    pub(crate) fn of(line: &str) -> Script {
        Script { net: None, env: Vec::new(), folder: None, command: vec![line.into()] }
    }

    /// As text. `scripts` is where `ci/guest` is, `siw` where siw.ko is, as seen by who runs it.
    pub(crate) fn text(&self, scripts: &str, siw: Option<&str>) -> String {
        let mut lines: Vec<String> = Vec::new();
        lines.extend(siw.map(|path| format!("export WAVETANK_SIW={}", quoted(path))));
        lines.extend(self.env.iter().map(|(name, value)| format!("export {name}={}", quoted(value))));
        if let Some(net) = self.net {
            let script = quoted(&format!("{scripts}/{}", net.script()));
            lines.push(format!(
                "bash {script} || {{ echo 'the net {net} could not be made'; exit {NO_NET}; }}"
            ));
        }
        lines.extend(self.folder.iter().map(|f| format!("cd {} || exit {NO_NET}", quoted(f))));
        lines.push(match &self.command[..] {
            [line] => line.clone(),
            words => words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" "),
        });
        lines.join("\n") + "\n"
    }
}

/// A word that the shell takes as it is.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(net: Option<Net>, command: &[&str]) -> Script {
        Script {
            net,
            env: Vec::new(),
            folder: None,
            command: command.iter().map(|w| String::from(*w)).collect(),
        }
    }

    fn run(script: &Script, scripts: &str) -> (Option<i32>, String) {
        let output = std::process::Command::new("bash").arg("-c").arg(script.text(scripts, None)).output();
        let output = output.expect("bash starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn words_reach_the_program_as_they_are() {
        let words = ["printf", "%s|", "a b", "it's", "", "$HOME", "x\ny"];
        assert_eq!(run(&script(None, &words), "/"), (Some(0), "a b|it's||$HOME|x\ny|".into()));
    }

    #[test]
    fn one_word_is_a_line_of_shell() {
        assert_eq!(run(&script(None, &["echo $((1 + 1)); exit 3"]), "/"), (Some(3), "2\n".into()));
    }

    #[test]
    fn the_environment_is_set() {
        let mut script = script(None, &["echo $WAVETANK_DEVICES"]);
        script.env.push(("WAVETANK_DEVICES".into(), "rxe0,rxe1".into()));
        assert_eq!(run(&script, "/"), (Some(0), "rxe0,rxe1\n".into()));
    }

    #[test]
    fn it_runs_in_its_folder_or_not_at_all() {
        let mut script = script(None, &["pwd"]);
        script.folder = Some("/usr/bin".into());
        assert_eq!(run(&script, "/"), (Some(0), "/usr/bin\n".into()));
        script.folder = Some("/no such folder".into());
        assert_eq!(run(&script, "/"), (Some(NO_NET), String::new()));
    }

    #[test]
    fn a_net_that_cannot_be_made_ends_it_before_the_command() {
        let (code, said) = run(&script(Some(Net::TwoRxe), &["echo", "done"]), "/no such folder");
        assert_eq!(code, Some(NO_NET));
        assert!(said.contains("the net two-rxe could not be made") && !said.contains("done"), "{said}");
    }
}
