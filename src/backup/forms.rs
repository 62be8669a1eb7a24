//! How the packages of a location were saved by the last backup, so that the items of an unchanged
//! package are known without downloading it.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    account,
    drive::{DrivePath, Member},
};

/// How a file that is or may be a package was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// As a folder of these items.
    Tree(Vec<Member>),
    /// As an archive, for this reason.
    Archive(String),
    /// As a file, because it is not a package.
    File,
}

/// The forms of packages, each as a line of JSON under the digest of the path.
#[derive(Debug, Default)]
pub struct Forms(HashMap<u64, String>);

/// A line.
#[derive(Serialize, Deserialize)]
struct Line {
    path: u64,
    version: u64,
    form: Form,
}

/// The file that stores the forms of one location.
#[derive(Debug, Clone)]
pub struct FormsFile(PathBuf);

impl FormsFile {
    /// Returns the file of a location. The files are in `folder`; `origin` distinguishes drives.
    pub fn new(folder: &Path, origin: &str, top: &DrivePath) -> Self {
        Self(folder.join(format!("packages-{:016x}", xxh3_64(format!("{origin}\0{top}").as_bytes()))))
    }

    /// Stores the forms.
    ///
    /// # Errors
    /// Fails if they cannot be written.
    pub fn store(&self, forms: Forms) -> io::Result<()> {
        let mut lines: Vec<String> = forms.0.into_values().collect();
        lines.sort_unstable();
        account::make_folder(self.0.parent().unwrap_or(&self.0))?;
        account::replace_file(&self.0, lines.join("\n").as_bytes())
    }

    /// Returns the forms that the last backup has stored. A file that cannot be read counts as empty.
    pub fn load(&self) -> Forms {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        /// The start of a line.
        #[derive(Deserialize)]
        struct Key {
            path: u64,
        }
        let keyed = |line: &str| Some((serde_json::from_str::<Key>(line).ok()?.path, line.to_owned()));
        Forms(text.lines().filter_map(keyed).collect())
    }
}

impl Forms {
    /// Adds the form of a package.
    pub fn add(&mut self, path: &DrivePath, version: &str, form: &Form) {
        let line = Line { path: digest(path.as_str()), version: digest(version), form: form.clone() };
        if let Ok(text) = serde_json::to_string(&line) {
            self.0.insert(line.path, text);
        }
    }

    /// Returns the form of a package in this version.
    pub fn get(&self, path: &DrivePath, version: &str) -> Option<Form> {
        let line: Line = serde_json::from_str(self.0.get(&digest(path.as_str()))?).ok()?;
        (line.version == digest(version)).then_some(line.form)
    }
}

fn digest(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::MemberKind;

    #[test]
    fn forms_are_read_as_they_were_stored() {
        let folder = tempfile::tempdir().unwrap();
        let file = FormsFile::new(&folder.path().join("kept"), "origin", &DrivePath::top());
        let path = |name: &str| DrivePath::parse(name).unwrap();
        assert_eq!(file.load().get(&path("a"), "1"), None);
        let members = vec![
            Member { path: "a\nb".to_owned(), kind: MemberKind::File { size: 1, crc: 2, executable: true } },
            Member { path: "l".to_owned(), kind: MemberKind::Link("a".to_owned()) },
        ];
        let mut forms = Forms::default();
        forms.add(&path("a"), "1", &Form::Tree(members.clone()));
        forms.add(&path("b"), "1", &Form::File);
        file.store(forms).unwrap();
        let loaded = file.load();
        assert_eq!(loaded.get(&path("a"), "1"), Some(Form::Tree(members)));
        assert_eq!(loaded.get(&path("a"), "2"), None);
        assert_eq!(loaded.get(&path("b"), "1"), Some(Form::File));
        fs::write(&file.0, "torn\n{\"path\":1").unwrap();
        assert_eq!(file.load().get(&path("a"), "1"), None);
    }
}
