//! An error and its causes as one line of text.

use std::error::Error;

/// `error` and the chain of its sources, separated by `: `. A source whose text is part of the line already is left out:
/// some errors print their source, others (those of kube) end before the text that matters.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    for cause in anyhow::Chain::new(error).skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests;
