//! Keys of AWS accounts, found where AWS's SDKs look: the environment, then the shared file of credentials.
//!
//! They are read anew for each round of deliveries, so keys that are exchanged in the file take effect by themselves.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A key of an account. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    id: String,
    secret: String,
    token: Option<String>,
}

/// Where keys are looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Keyring {
    /// The file of credentials, if it is not where the SDKs have it.
    pub(crate) file: Option<PathBuf>,
    /// A profile in it; without one the environment comes first.
    pub(crate) profile: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) fn new(id: &str, secret: &str, token: Option<&str>) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), token: token.map(str::to_owned) }
    }

    pub(super) fn key_id(&self) -> &str {
        &self.id
    }

    pub(super) fn secret_key(&self) -> &str {
        &self.secret
    }

    /// Of a session: has to accompany every request.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

impl Keyring {
    /// The key in force. `variable` gives variables of the environment.
    ///
    /// # Errors
    ///
    /// There is none; the error says where it was looked for, and nothing of what was found.
    pub(super) fn find(&self, variable: impl Fn(&str) -> Option<String>) -> io::Result<Credentials> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if self.profile.is_none()
            && let (Some(id), Some(secret)) =
                (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            return Ok(Credentials { id, secret, token: variable("AWS_SESSION_TOKEN") });
        }
        let profile = self.profile.clone().or_else(|| variable("AWS_PROFILE"));
        let profile = profile.unwrap_or_else(|| "default".to_owned());
        let home = || variable("HOME").map(|home| Path::new(&home).join(".aws/credentials"));
        let shared = || variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
        let file = self.file.clone().or_else(shared).or_else(home).ok_or_else(|| {
            let what = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or [daemon] credentials_file";
            io::Error::new(io::ErrorKind::NotFound, what)
        })?;
        let text = fs::read_to_string(&file).map_err(|error| {
            io::Error::new(error.kind(), format!("no credentials: {}: {error}", file.display()))
        })?;
        in_profile(&text, &profile).map_err(|what| {
            let place = format!("{}, profile {profile}", file.display());
            io::Error::new(io::ErrorKind::NotFound, format!("no credentials: {place}: {what}"))
        })
    }
}

/// The key of a profile in a file of credentials.
fn in_profile(text: &str, profile: &str) -> Result<Credentials, &'static str> {
    let (mut is_ours, mut is_there) = (false, false);
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            // The file of settings, which may hold keys too, has `profile` before names.
            is_ours = name.trim() == profile || name.trim().strip_prefix("profile ") == Some(profile);
            is_there |= is_ours;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_ours && !line.starts_with(['#', ';']))
        else {
            continue;
        };
        let value = Some(value.trim()).filter(|value| !value.is_empty());
        match key.trim() {
            "aws_access_key_id" => id = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Credentials::new(id, secret, token)),
        _ if !is_there => Err("there is no such profile"),
        (None, _) => Err("aws_access_key_id is missing"),
        (_, None) => Err("aws_secret_access_key is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# keys\n[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key=s3cr3t/+=\n\n\
                        [profile logs]\n; another\naws_access_key_id=AKIDLOGS\naws_secret_access_key=other\n\
                        aws_session_token = t0ken\nregion = us-east-1\n[empty]\n[half]\naws_access_key_id=AKIDHALF\n";

    fn file() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), FILE).unwrap();
        file
    }

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn profiles_of_a_file() {
        let file = file();
        let find = |profile: Option<&str>| {
            let keyring = Keyring { file: Some(file.path().to_owned()), profile: profile.map(str::to_owned) };
            keyring.find(nothing)
        };
        assert_eq!(find(None).unwrap(), Credentials::new("AKIDDEFAULT", "s3cr3t/+=", None));
        assert_eq!(find(Some("logs")).unwrap(), Credentials::new("AKIDLOGS", "other", Some("t0ken")));
        let why = |profile| find(Some(profile)).unwrap_err().to_string();
        assert!(why("nobody").contains("profile nobody: there is no such profile"), "{}", why("nobody"));
        assert!(why("empty").contains("aws_access_key_id is missing"));
        let half = why("half");
        assert!(half.contains("aws_secret_access_key is missing") && !half.contains("AKIDHALF"), "{half}");
    }

    #[test]
    fn the_order_of_places() {
        let file = file();
        let path = file.path().display().to_string();
        let environment = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("AKIDENV".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("env".to_owned()),
            "AWS_SHARED_CREDENTIALS_FILE" => Some(path.clone()),
            _ => None,
        };
        let any = Keyring::default();
        assert_eq!(any.find(environment).unwrap(), Credentials::new("AKIDENV", "env", None));
        let named = Keyring { profile: Some("logs".into()), ..any.clone() };
        assert_eq!(
            named.find(environment).unwrap().key_id(),
            "AKIDLOGS",
            "a profile that is named goes first"
        );
        let in_file = |name: &str| match name {
            "AWS_PROFILE" => Some("logs".to_owned()),
            "AWS_ACCESS_KEY_ID" => Some(String::new()),
            other => environment(other).filter(|_| other != "AWS_SECRET_ACCESS_KEY"),
        };
        assert_eq!(any.find(in_file).unwrap().key_id(), "AKIDLOGS");
        assert!(any.find(nothing).unwrap_err().to_string().contains("AWS_ACCESS_KEY_ID"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Credentials::new("AKIDEXAMPLE", "s3cr3t", Some("t0ken"));
        let text = format!("{credentials:?}");
        assert!(!text.contains("s3cr3t") && !text.contains("t0ken") && !text.contains("AKID"), "{text}");
    }
}
