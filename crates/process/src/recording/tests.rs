use std::fs;

use tempfile::TempDir;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    depth: f64,
}

fn recorded(lines: &[u32]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let mut recorder = Recorder::start(&path, "diver", &Settings { depth: 0.1 }).unwrap();
    lines.iter().for_each(|line| recorder.line(line));
    recorder.flush();
    (folder, path)
}

/// The lines up to the end.
fn read(path: &Path) -> anyhow::Result<(Vec<u32>, bool)> {
    let mut recording = Recording::open(path)?;
    let mut lines = Vec::new();
    while let Some(line) = recording.read()? {
        lines.push(line);
    }
    Ok((lines, recording.truncated()))
}

/// The whole chain of an error.
fn problem<T: std::fmt::Debug>(result: anyhow::Result<T>) -> String {
    format!("{:#}", result.unwrap_err())
}

#[test]
fn what_was_recorded_is_read_with_its_kind_and_settings() {
    let (_folder, path) = recorded(&[1, 20, 300]);
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.kind(), "diver");
    assert_eq!(recording.settings::<Settings>("diver").unwrap(), Settings { depth: 0.1 });
    let error = problem(recording.settings::<Settings>("captain"));
    assert!(error.ends_with("run.jsonl:1: a recording of kind `diver`, not `captain`"), "{error}");
    let error = problem(recording.settings::<u32>("diver"));
    assert!(error.contains("run.jsonl:1: not settings"), "{error}");
    assert_eq!(read(&path).unwrap(), (vec![1, 20, 300], false));
}

#[test]
fn an_unfinished_last_line_ends_the_recording_and_is_said_and_one_in_the_middle_is_an_error() {
    let (_folder, path) = recorded(&[]);
    let whole = fs::read_to_string(&path).unwrap() + "[1,2]\n[3,4]\n";
    let read = || {
        let mut recording = Recording::open(&path)?;
        let mut lines: Vec<[u32; 2]> = Vec::new();
        while let Some(line) = recording.read()? {
            lines.push(line);
        }
        anyhow::Ok((lines, recording.truncated()))
    };
    for (cut, expected) in [
        (0, (vec![[1, 2], [3, 4]], false)),
        // only the end of the line is missing
        (1, (vec![[1, 2], [3, 4]], false)),
        (2, (vec![[1, 2]], true)),
        (5, (vec![[1, 2]], true)),
        (6, (vec![[1, 2]], false)),
    ] {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        assert_eq!(read().unwrap(), expected, "without the last {cut} bytes");
    }
    fs::write(&path, whole.replace("[1,2]", "[1,")).unwrap();
    let error = problem(read());
    assert!(error.contains("run.jsonl:2: not a line of this recording"), "{error}");
}

#[test]
fn what_is_no_recording_is_refused_with_the_reason_and_the_cure() {
    let (folder, path) = recorded(&[7]);
    let error = problem(Recording::open(&folder.path().join("none")));
    assert!(error.contains("cannot read the recording"), "{error}");
    let error = problem(Recording::open(folder.path()));
    assert!(error.contains("cannot read the recording"), "{error}");
    let long = format!("{}\n", "x".repeat(2 << 20));
    for (text, expected) in [
        ("", "run.jsonl is empty"),
        ("ts,value\n0,0.5\n", "not that of a file which --record wrote"),
        ("\u{0}\u{1}\u{2}", "not that of a file which --record wrote"),
        ("{\"recording\":\"di", "unfinished"),
        ("{\"profile\":{},\"without_roster\":\"Unknown\"}\n{}\n", "earlier version"),
        ("{}\n", "earlier version"),
        (
            "{\"recording\":\"diver\",\"format\":9,\"settings\":{}}\n",
            "format 9, and this program reads format 1",
        ),
        ("{\"recording\":\"diver\"}\n", "missing field"),
        (&long, "longer than 1024 KiB"),
    ] {
        fs::write(&path, text).unwrap();
        let error = problem(Recording::open(&path));
        assert!(error.contains(expected) && error.contains("run.jsonl"), "{error}");
    }
}

#[test]
fn where_nothing_can_be_written_the_flag_and_the_file_are_named() {
    let (folder, _) = recorded(&[]);
    let error = problem(Recorder::start(&folder.path().join("no/run.jsonl"), "diver", &()));
    assert!(error.contains("--record: cannot write") && error.contains("no/run.jsonl"), "{error}");
}

#[test]
fn after_a_failure_nothing_is_recorded_any_more() {
    let full = Path::new("/dev/full");
    let mut recorder = Recorder::start(full, "diver", &()).unwrap();
    recorder.flush();
    assert!(recorder.failed);
    // it would otherwise be written to the buffer
    let before = recorder.file.buffer().len();
    recorder.line(&1);
    assert_eq!(recorder.file.buffer().len(), before);
}
