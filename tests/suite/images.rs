//! The images: complete, reproducible, and rejected when damaged. Built from a small program that every machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const PARTS: [&str; 2] = ["agent", "aggregator"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn build(out: &Path, arguments: &[&str]) -> Output {
    Command::new(root().join("images/build")).args(arguments).env("OUT", out).output().unwrap()
}

fn output_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// A directory with substitutes for both programs; `None` if this machine lacks a tool that `images/build` needs.
fn substitutes() -> Option<TempDir> {
    let tools = [("ldd", "--version"), ("sha256sum", "--version"), ("tar", "--version")];
    let missing = tools.iter().find(|(tool, flag)| Command::new(tool).arg(flag).output().is_err());
    if let Some((tool, _)) = missing {
        println!("skipped: images/build needs {tool}, which is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    for part in PARTS {
        fs::copy("/bin/true", folder.path().join(format!("plimsoll-{part}"))).unwrap();
    }
    Some(folder)
}

#[test]
fn an_image_is_complete_and_the_same_binaries_produce_the_same_bytes() {
    let Some(programs) = substitutes() else { return };
    let out = tempfile::tempdir().unwrap();
    let once = |out: &Path| {
        let built = build(out, &["--binaries", programs.path().to_str().unwrap()]);
        assert!(built.status.success(), "{}", output_of(&built));
        PARTS.map(|part| fs::read(out.join(format!("{part}.tar"))).unwrap())
    };
    let first = once(&out.path().join("first"));
    assert_eq!(first, once(&out.path().join("second")));
    for part in PARTS {
        let archive = out.path().join("first").join(format!("{part}.tar"));
        let checked = build(out.path(), &["--check", archive.to_str().unwrap()]);
        assert!(
            checked.status.success() && output_of(&checked).contains(&format!("plimsoll-{part}:dev")),
            "{}",
            output_of(&checked)
        );
    }
}

#[test]
fn a_damaged_image_is_rejected() {
    let Some(programs) = substitutes() else { return };
    let out = tempfile::tempdir().unwrap();
    assert!(build(out.path(), &["--binaries", programs.path().to_str().unwrap()]).status.success());
    let archive = out.path().join("agent.tar");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let checked = build(out.path(), &["--check", archive.to_str().unwrap()]);
    assert!(
        !checked.status.success() && output_of(&checked).contains("does not match its name"),
        "{}",
        output_of(&checked)
    );
}

#[test]
fn a_missing_program_is_named_with_its_build_command() {
    let out = tempfile::tempdir().unwrap();
    let built = build(out.path(), &["--binaries", "/no/such/folder"]);
    let text = output_of(&built);
    assert!(!built.status.success() && text.contains("/no/such/folder/plimsoll-agent"), "{text}");
    assert!(text.contains("--package plimsoll-agent"), "{text}");
}

#[test]
fn the_dockerfile_builds_the_same_two_images() {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    for part in PARTS {
        let stage =
            text.split("\nFROM ").find(|stage| stage.starts_with(&format!("scratch AS {part}\n"))).unwrap();
        assert!(stage.contains("\nUSER 65532:65532\n"), "{stage}");
        assert!(stage.contains(&format!("\nENTRYPOINT [\"/usr/bin/plimsoll-{part}\"]")), "{stage}");
        assert!(text.contains(&format!("images/build --root {part} target/release /out/{part}")), "{part}");
    }
}
