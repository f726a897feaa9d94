//! Where the control socket lies, and how it is taken: a dead daemon's is replaced, a live one's is not.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use palisade_policy::model::Vpc;

use crate::failure::{Exit, Failure};

/// Directory of control sockets that nobody named.
pub(crate) const DIRECTORY: &str = "/run/palisade";

/// The socket of a daemon that runs a VPC: the option's, else the configuration's, else the usual place.
pub(crate) fn path(option: Option<&Path>, vpc: &Vpc) -> PathBuf {
    let usual = || Path::new(DIRECTORY).join(format!("{}.sock", vpc.id));
    option.map(Path::to_owned).or_else(|| vpc.daemon.control_socket.clone()).unwrap_or_else(usual)
}

/// A listening socket, removed when dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    /// Where it lies.
    path: PathBuf,
    /// What it is, so that another daemon's is never removed.
    inode: u64,
}

impl ControlSocket {
    /// Makes the socket, mode 0600, and its directory, mode 0750, if there is none.
    ///
    /// # Errors
    /// Another daemon answers there, something else lies there, or the place cannot be written to.
    pub(crate) fn claim(path: &Path) -> Result<(Self, UnixListener), Failure> {
        let fail = |error: io::Error| Failure::file("make the control socket", path, &error);
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(fail)?;
        // Held until the socket listens: of two daemons that start at once, the second one finds a live socket.
        let _lock = File::open(dir).and_then(lock).map_err(fail)?;
        make_room(path)?;
        let previous = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(previous);
        let listener = listener.map_err(fail)?;
        let inode = fs::symlink_metadata(path).map_err(fail)?.ino();
        Ok((Self { path: path.to_owned(), inode }, listener))
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let mine = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if mine {
            // Whoever removed it meanwhile has done the work.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The sockets in a directory at which somebody listens.
pub(crate) fn live_sockets(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock") && !is_stale(path))
        .collect();
    found.sort();
    Ok(found)
}

fn lock(dir: File) -> io::Result<Flock<File>> {
    Flock::lock(dir, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
}

/// Removes a socket behind which there is nobody.
fn make_room(path: &Path) -> Result<(), Failure> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        let what = format!("{} exists and is no socket", path.display());
        return Err(Failure::new(what, "remove it, or name another place with --socket"));
    }
    if !is_stale(path) {
        let what = format!("a daemon answers at {} already", path.display());
        let help = "stop it, or give this one another VPC or another place with --socket";
        return Err(Failure::with(Exit::Failed, what, help));
    }
    fs::remove_file(path).map_err(|error| Failure::file("remove the stale socket", path, &error))
}

/// Whether nobody listens. A socket that cannot be asked for another reason counts as live.
fn is_stale(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/p.sock");
        let (socket, _listener) = ControlSocket::claim(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()) & !0o750, 0, "nothing for others");
        assert_eq!(live_sockets(path.parent().unwrap()).unwrap(), [path.as_path()]);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_socket_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        let (_socket, _listener) = ControlSocket::claim(&path).unwrap();
        let refused = ControlSocket::claim(&path).expect_err("somebody listens there");
        assert!(refused.what.contains("a daemon answers at"), "{refused}");
        assert!(path.exists());
    }

    #[test]
    fn a_dead_daemons_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists() && is_stale(&path));
        assert_eq!(live_sockets(dir.path()).unwrap(), Vec::<PathBuf>::new());
        let (_socket, _listener) = ControlSocket::claim(&path).unwrap();
        assert!(!is_stale(&path));
    }

    #[test]
    fn a_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        fs::write(&path, "precious").unwrap();
        assert!(ControlSocket::claim(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_socket_of_another_daemon_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        // The listener keeps the first one's inode from being used again.
        let (first, _listener) = ControlSocket::claim(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
