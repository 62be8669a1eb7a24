//! The texts of the licences of all dependencies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::{dependencies::Dependency, root, target::Target};

/// The depth below the folder of a dependency to which licences are searched. That of mimalloc is
/// at 3.
const DEPTH: usize = 3;
/// The names of licences begin with one of these.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
/// The licence of glibc, which a static executable contains.
const LGPL: &str = "packaging/licenses/LGPL-2.1.txt";

/// Returns the text of a file with all licences: for each, the dependencies that it applies to.
pub fn text(dependencies: &BTreeSet<Dependency>, target: &Target) -> Result<String> {
    let mut texts = BTreeMap::<String, BTreeSet<String>>::new();
    for dependency in dependencies {
        let title = title(dependency);
        let mut is_found = false;
        for text in texts_of(dependency)? {
            texts.entry(text).or_default().insert(title.clone());
            is_found = true;
        }
        if !is_found {
            let license = dependency.license.as_deref();
            let license =
                license.with_context(|| format!("{title} has neither a licence file nor a stated licence"))?;
            texts.entry(format!("(no separate text: {license})")).or_default().insert(title);
        }
    }
    if target.has_glibc() {
        let path = root().join(LGPL);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        texts.entry(text).or_default().insert("glibc (LGPL-2.1-or-later)".to_owned());
    }
    let mut file = String::from("The executable contains these packages, under these licences.\n");
    for (text, titles) in texts {
        let titles = titles.into_iter().collect::<Vec<_>>().join("\n");
        write!(file, "\n{}\n{titles}\n\n{}\n", "=".repeat(80), text.trim_end())?;
    }
    Ok(file)
}

fn title(dependency: &Dependency) -> String {
    let Dependency { name, version, license, .. } = dependency;
    match license {
        Some(license) => format!("{name} {version} ({license})"),
        None => format!("{name} {version}"),
    }
}

/// Returns the licence texts in the folder of a dependency.
fn texts_of(dependency: &Dependency) -> Result<BTreeSet<String>> {
    // The folder of Go has the licences of all its tools.
    let depth = if dependency.name == "std" { 1 } else { DEPTH };
    let mut found = BTreeSet::new();
    for entry in WalkDir::new(&dependency.folder).max_depth(depth) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type().is_file() && NAMES.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with(".GO")
        {
            found.insert(String::from_utf8_lossy(&fs::read(entry.path())?).into_owned());
        }
    }
    Ok(found)
}
