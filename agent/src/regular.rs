//! Opens files that must be regular ones. A pipe in place of one would block the agent, a device might do anything when it is opened.
//!
//! Files of cgroups and of `/proc` are regular too. Proof: the tests below, and `tests/once.rs` with whole trees.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// Larger than any file that is read as a whole: `/proc/stat` of a machine with thousands of interrupts has some 100 KiB.
const MAX_SIZE: u64 = 4 << 20;

/// Opens a file of a host or a captured tree. A symbolic link is not followed: it might lead out of the tree.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_with(path, &fs::symlink_metadata(path)?, OFlag::O_NOFOLLOW)
}

/// Opens a file that may be a symbolic link to one, as the kubelet's projected volumes are.
pub(crate) fn open_linked(path: &Path) -> io::Result<File> {
    open_with(path, &fs::metadata(path)?, OFlag::empty())
}

/// Reads all of a file of a host or a captured tree.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
    }
    Ok(content)
}

/// `before`: from the path, because opening a device is too late. Checked again when open, because it may have been replaced.
fn open_with(path: &Path, before: &Metadata, flags: OFlag) -> io::Result<File> {
    check(before.file_type())?;
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

fn check(kind: FileType) -> io::Result<()> {
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_the_error_says_what_it_is_instead() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "content").unwrap();
        symlink(path("file"), path("link")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        assert_eq!(read(&path("file")).unwrap(), b"content");
        let mut linked = String::new();
        open_linked(&path("link")).unwrap().read_to_string(&mut linked).unwrap();
        assert_eq!(linked, "content");
        for (opened, expected) in [
            (open(&path("link")), "a symbolic link"),
            (open(&path("zero")), "a symbolic link"),
            (open_linked(&path("zero")), "a device"),
            (open(Path::new("/dev/zero")), "a device"),
            (open(&path("pipe")), "a named pipe"),
            (open_linked(&path("pipe")), "a named pipe"),
            (open(dir.path()), "a directory"),
        ] {
            let error = opened.unwrap_err().to_string();
            assert_eq!(error, format!("it is {expected}, not a regular file"));
        }
    }

    #[test]
    fn a_file_that_does_not_end_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
