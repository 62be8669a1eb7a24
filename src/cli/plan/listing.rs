//! The output of `plakar ls -recursive` (P/subcommands/ls/ls.go).

use std::ops::RangeInclusive;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    rclone::Time,
    restore::{Item, Planned, Wanted},
};

/// The units of the sizes (go-humanize, `IBytes`).
const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Parses a listing. plakar prints the paths of the source, and the restore has paths relative to
/// the listed folder, which plakar does not print. The parent of the first item is that folder.
///
/// # Errors
/// Returns the number of the first line that cannot be part of such a listing, and why.
pub fn parse(text: &str) -> Result<Vec<Planned>, String> {
    let mut items = vec![top()];
    let mut root: Option<&str> = None;
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let entry = Line::parse(line).ok_or_else(|| {
            format!("line {} is not one of the output of \"plakar ls -recursive SNAPSHOT\"", number + 1)
        })?;
        let above = entry.path.rfind('/').unwrap_or_default();
        let root = *root.get_or_insert(&entry.path[..above]);
        let path = entry.path.strip_prefix(root).filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| format!("line {} has a path outside {root}", number + 1))?.to_owned();
        items.push(Planned { path, item: entry.item, sizes: entry.sizes });
    }
    Ok(items)
}

/// Returns the folder that is restored.
pub fn top() -> Planned {
    Planned { path: "/".to_owned(), item: item(Wanted::Folder, Time::UNKNOWN), sizes: 0..=0 }
}

/// Returns an item of a kind.
pub fn item(wanted: Wanted, modified: Time) -> Item {
    let has_content = wanted == Wanted::File;
    Item { wanted, modified, has_permissions: false, is_program: false, has_attributes: false, has_content }
}

/// A line: the time, the mode, the owner, the group, the size with its unit, and the path.
struct Line<'a> {
    path: &'a str,
    item: Item,
    sizes: RangeInclusive<u64>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (mode, rest) = word(rest)?;
        let (_owner, rest) = word(rest)?;
        let (_group, rest) = word(rest)?;
        let (number, rest) = word(rest)?;
        let (unit, path) = rest.split_once(' ')?;
        let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
        let modified = Time { seconds: time.unix_timestamp(), nanos: 0 };
        // Go's `fs.FileMode`: the type and other bits as letters, then nine characters.
        let kind = mode.get(..mode.len().checked_sub(9)?)?;
        let (wanted, path) = match kind {
            _ if kind.contains('d') => (Wanted::Folder, path),
            _ if kind.contains('L') => {
                let (path, target) = path.split_once(" -> ").unwrap_or((path, ""));
                (Wanted::Symlink(target.to_owned()), path)
            }
            _ if kind.contains(['D', 'p', 'S', 'c', '?']) => (Wanted::Special, path),
            _ => (Wanted::File, path),
        };
        path.starts_with('/').then_some(())?;
        Some(Self { path, item: item(wanted, modified), sizes: sizes(number, unit)? })
    }
}

/// Splits the next word off a text that may start with spaces.
fn word(text: &str) -> Option<(&str, &str)> {
    text.trim_start_matches(' ').split_once(' ')
}

/// Returns the range of the numbers of bytes that plakar prints in this way. Numbers below 10 are
/// rounded to tenths, and others to tenths and then to whole numbers. A size of -1 stands for an
/// unknown one, and is printed as 16 EiB.
fn sizes(number: &str, unit: &str) -> Option<RangeInclusive<u64>> {
    let exponent = u32::try_from(UNITS.iter().position(|known| *known == unit)?).ok()?;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let (whole, tenths) = (whole.parse::<u64>().ok()?, tenths.parse::<u64>().ok().filter(|tenths| *tenths < 10)?);
    if exponent == 0 {
        return Some(whole..=whole);
    }
    if whole >= 16 && unit == "EiB" {
        return Some(0..=u64::MAX);
    }
    let hundredths = u128::from(whole) * 100 + u128::from(tenths) * 10;
    let slack = if number.contains('.') { 5 } else { 55 };
    let bytes = |hundredths: u128| u64::try_from((hundredths << (10 * exponent)) / 100).unwrap_or(u64::MAX);
    Some(bytes(hundredths.saturating_sub(slack))..=bytes(hundredths + slack))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_plakar_is_parsed() {
        let text = "2026-11-29T01:09:58Z -rw-r--r--     root     root      3 B /src/a b.txt\n\
                    2026-11-29T01:09:58Z Lrwxrwxrwx     root     root      1 B /src/link -> a\n\
                    2026-11-29T01:09:58Z prw-r--r--     root     root      0 B /src/pipe\n\
                    2026-11-29T01:09:58Z drwxr-xr-x     1000     1000  4.0 KiB /src/sub\n\
                    1970-01-01T00:00:01Z -rw-r--r-- somebody wheelwheel  1.2 MiB /src/sub/ big \n\
                    2026-11-29T01:09:58Z -rw-r--r--     root     root   16 EiB /src/sub/song.band\n";
        let items = parse(text).unwrap();
        let paths: Vec<&str> = items.iter().map(|item| item.path.as_str()).collect();
        assert_eq!(paths, ["/", "/a b.txt", "/link", "/pipe", "/sub", "/sub/ big ", "/sub/song.band"]);
        assert_eq!(items[1].sizes, 3..=3);
        assert_eq!(items[2].item.wanted, Wanted::Symlink("a".to_owned()));
        assert_eq!((&items[3].item.wanted, &items[4].item.wanted), (&Wanted::Special, &Wanted::Folder));
        assert_eq!(items[5].item.modified, Time { seconds: 1, nanos: 0 });
        assert_eq!(*items[6].sizes.end(), u64::MAX);
        for wrong in ["", "a line", "2026-11-29T01:09:58Z   fa53213a   1.2 MiB        0s /tmp/restore/src", "x /"] {
            assert_eq!(parse(&format!("{wrong}\n")).is_err(), !wrong.is_empty(), "{wrong}");
        }
        assert!(parse(&(text.to_owned() + "2026-11-29T01:09:58Z -rw-r--r-- root root 3 B /srcs\n")).is_err());
    }

    #[test]
    fn the_range_of_a_printed_size_contains_the_real_size() {
        for (size, number, unit) in [
            (1_023, "1023", "B"),
            (1_024, "1.0", "KiB"),
            (1_500, "1.5", "KiB"),
            (10_239, "10", "KiB"),
            (1_234_567, "1.2", "MiB"),
            (123_456_789, "118", "MiB"),
            (6_000_000_000, "5.6", "GiB"),
        ] {
            let range = sizes(number, unit).unwrap();
            assert!(range.contains(&size) && (range.end() - range.start()) * 8 <= size, "{size}: {range:?}");
        }
    }
}
