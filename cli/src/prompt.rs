//! The question before a change.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::connect::escaped;

/// Asks a person at a terminal, unless the answer was given with `--yes`. In a script nothing is asked. `false`: no.
pub(crate) fn allowed(yes: bool, question: &str) -> io::Result<bool> {
    if yes || !io::stdin().is_terminal() {
        return Ok(true);
    }
    confirmed(question, &mut io::stdin().lock(), &mut io::stderr())
}

/// ` in context minikube`, so that a person recognizes the cluster; empty where it is not known.
pub(crate) fn in_context(context: Option<&str>) -> String {
    context.map(|context| format!(" in context {}", escaped(context))).unwrap_or_default()
}

/// Asks for confirmation. Anything but y or yes is a no.
pub(crate) fn confirmed(question: &str, input: &mut impl BufRead, out: &mut impl Write) -> io::Result<bool> {
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_y_or_yes_is_a_yes() {
        let answers =
            [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("yeah\n", false), ("n\n", false)];
        for (typed, yes) in answers {
            let mut asked = Vec::new();
            assert_eq!(confirmed("Really?", &mut typed.as_bytes(), &mut asked).unwrap(), yes, "{typed:?}");
            assert_eq!(asked, b"Really? [y/N] ");
        }
    }

    #[test]
    fn the_context_cannot_control_the_terminal() {
        assert_eq!(in_context(Some("mini\u{1b}kube")), " in context mini\\u{1b}kube");
        assert_eq!(in_context(None), "");
    }
}
