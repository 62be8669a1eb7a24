use std::io::{Cursor, Write};

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

/// Returns an archive of files, folders (with a slash at the end) and links (`name -> target`).
fn archive(items: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in items {
        match name.split_once(" -> ") {
            Some((name, target)) => writer.add_symlink(name, target, options).unwrap(),
            None if name.ends_with('/') => writer.add_directory(*name, options).unwrap(),
            None => {
                writer.start_file(*name, options).unwrap();
                writer.write_all(content).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

fn open(bytes: Vec<u8>, listed: Option<u64>) -> Result<Archive, Refused> {
    Archive::open(Arc::new(Spooled::from(Bytes::from(bytes))), "a.band", listed)
}

fn paths(archive: &Archive) -> Vec<&str> {
    archive.members().iter().map(|member| member.path.as_str()).collect()
}

#[test]
fn paths_are_relative_to_the_folder_of_the_package() {
    let items: [(&str, &[u8]); 3] = [("a.band/b/c", b"1"), ("a.band/", b""), ("a.band/d", b"2")];
    assert_eq!(paths(&open(archive(&items), None).unwrap()), ["b", "d", "b/c"]);
    let renamed: [(&str, &[u8]); 1] = [("old.band/d", b"2")];
    assert_eq!(paths(&open(archive(&renamed), None).unwrap()), ["d"]);
    for other in ["Data/d", "d"] {
        assert!(paths(&open(archive(&[(other, b"2")]), None).unwrap()).contains(&other));
    }
}

#[test]
fn an_archive_that_leads_out_of_its_package_is_refused() {
    for name in [
        "/etc/x",
        "../x",
        "a/../../x",
        "a.band/../x",
        "a//x",
        "./x",
        "l -> /etc",
        "l -> ..",
        "a/l -> ../../x",
        "l -> b/../x",
    ] {
        assert!(open(archive(&[(name, b"x")]), None).is_err(), "{name}");
    }
    let inside: [(&str, &[u8]); 3] = [("v/1/x", b"x"), ("v/now -> 1", b""), ("x -> v/now/x", b"")];
    assert_eq!(open(archive(&inside), None).unwrap().members().len(), 5);
    assert!(open(archive(&[("l -> d", b""), ("l/x", b"x")]), None).is_err());
    assert!(open(archive(&[("d", b""), ("d/x", b"x")]), None).is_err());
}

#[test]
fn two_items_with_the_same_name_are_refused() {
    let mut twins = archive(&[("one", b"1"), ("two", b"2")]);
    let at: Vec<usize> = (0..twins.len() - 3).filter(|&at| &twins[at..at + 3] == b"two").collect();
    at.into_iter().for_each(|at| twins[at..at + 3].copy_from_slice(b"one"));
    let refused = open(twins, None).unwrap_err();
    assert!(refused.to_string().contains("same name"), "{refused}");
    assert!(open(archive(&[("d/", b""), ("d", b"")]), None).is_err());
    assert_eq!(paths(&open(archive(&[("A", b"1"), ("a", b"2")]), None).unwrap()), ["A", "a"]);
}

#[test]
fn an_archive_out_of_proportion_is_refused() {
    let zeros = vec![0; 80 * 1024 * 1024];
    let bomb = archive(&[("zeros", &zeros)]);
    let refused = open(bomb.clone(), Some(1000)).unwrap_err();
    assert!(refused.to_string().contains("83886080 bytes when unpacked"), "{refused}");
    assert!(open(bomb, Some(zeros.len() as u64)).is_ok());
    assert!(open(archive(&[("zeros", &zeros[..1 << 20])]), Some(1000)).is_ok());
}

/// The sizes are those that the directory states, so nothing is unpacked for the check.
#[test]
fn an_archive_with_too_many_bytes_is_refused() {
    let stated = 0xffff_fff0_u32;
    let mut large = archive(&[("1", b"x"), ("2", b"x"), ("3", b"x"), ("4", b"x"), ("5", b"x")]);
    let entries = entries(&large);
    assert_eq!(entries.len(), 5);
    entries.iter().for_each(|at| large[at + 24..at + 28].copy_from_slice(&stated.to_le_bytes()));
    let bytes = 5 * u64::from(stated);
    let refused = open(large, Some(bytes)).unwrap_err();
    assert!(refused.to_string().contains(&format!("{bytes} bytes when unpacked")), "{refused}");
}

#[test]
fn an_archive_with_too_many_items_is_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for number in 0..=MAX_ITEMS {
        writer.start_file(number.to_string(), options).unwrap();
    }
    let refused = open(writer.finish().unwrap().into_inner(), None).unwrap_err();
    assert!(refused.to_string().contains("it has 100001 items"), "{refused}");
}

/// Returns the positions of the entries in the directory of an archive.
fn entries(archive: &[u8]) -> Vec<usize> {
    (0..archive.len() - 4).filter(|&at| &archive[at..at + 4] == b"PK\x01\x02").collect()
}

#[test]
fn contents_that_overlap_are_refused() {
    let mut overlapping = archive(&[("1", b"one"), ("2", b"two")]);
    let second = entries(&overlapping)[1];
    overlapping[second + 42..second + 46].copy_from_slice(&0_u32.to_le_bytes()); // the position of its content
    let refused = open(overlapping, None).unwrap_err();
    assert!(refused.to_string().contains("overlap"), "{refused}");
}

#[test]
fn encrypted_items_unknown_methods_and_long_paths_are_refused() {
    for (offset, value) in [(8, 1), (10, 12)] {
        let mut changed = archive(&[("1", b"one")]);
        let entry = entries(&changed)[0];
        changed[entry + offset] = value;
        let refused = open(changed, None).unwrap_err();
        assert!(refused.to_string().contains("encrypted or compressed"), "{refused}");
    }
    let refused = open(archive(&[(&format!("{}x", "folder/".repeat(600)), b"x")]), None).unwrap_err();
    assert!(refused.to_string().contains("cannot be the path"), "{refused}");
}

/// A restore of the file would otherwise have more or fewer bytes than its record.
#[tokio::test]
async fn a_file_of_another_size_than_in_the_directory_is_damaged() {
    for stated in [2_u32, 9] {
        let mut changed = archive(&[("1", b"seven..")]);
        let entry = entries(&changed)[0];
        changed[entry + 24..entry + 28].copy_from_slice(&stated.to_le_bytes());
        let opened = Arc::new(open(changed, None).unwrap());
        let read = opened.read(&opened.members()[0]).unwrap().collect().await;
        assert_eq!(read.unwrap_err().kind, Kind::Damaged, "{stated}");
    }
}

#[tokio::test]
async fn a_file_is_checked_while_it_is_read() {
    let content: Vec<u8> = (0..2_500_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("file", &content[..]), ("empty", b"")] {
        writer.start_file(name, options.unix_permissions(0o755)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    let whole = Arc::new(open(bytes.clone(), None).unwrap());
    let [empty, file] = whole.members() else { panic!("{:?}", whole.members()) };
    assert!(matches!(file.kind, MemberKind::File { executable: true, size: 2_500_000, .. }));
    assert_eq!(whole.read(file).unwrap().collect().await.unwrap(), content);
    assert_eq!(whole.read(empty).unwrap().collect().await.unwrap(), b"".as_slice());
    bytes[1_000_000] ^= 1;
    let damaged = Arc::new(open(bytes, None).unwrap());
    assert_eq!(damaged.read(file).unwrap().collect().await.unwrap_err().kind, Kind::Damaged);
    let other = Member { path: "other".to_owned(), ..file.clone() };
    assert_eq!(damaged.read(&other).unwrap_err().kind, Kind::Changed);
}
