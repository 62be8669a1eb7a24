//! The origin of a configuration's files, and the references between its sections.

use std::collections::{BTreeMap, BTreeSet};

use super::{Error, sections};
use crate::rclone::Sections;

/// Returns the identity of the account or server of a section, without secrets. The sections must
/// not refer to each other in a circle.
pub fn of_section(sections: &Sections, section: &str) -> String {
    let (mut before, mut after) = (String::new(), Vec::new());
    let mut section = section;
    loop {
        let Some(options) = sections.get(section) else {
            break before += section;
        };
        // crypt, alias and similar backends refer to a path of another section.
        let below = options.get("remote").filter(|_| !options.contains_key("apple_id"));
        let Some((remote, path)) = below.and_then(|remote| remote.split_once(':')) else {
            break before += &of_service(options);
        };
        before += options.get("type").map_or("", String::as_str);
        before.push(':');
        after.push(path);
        section = remote;
    }
    for path in after.into_iter().rev() {
        before.push(':');
        before += path;
    }
    before
}

/// Returns the origin of the photo library of an account.
pub fn of_photos(account: &str) -> String {
    format!("photos:{account}")
}

/// Returns the origin of a section that refers to no other.
fn of_service(options: &BTreeMap<String, String>) -> String {
    let get = |key: &str| options.get(key).map(String::as_str);
    let kind = get("type").unwrap_or_default();
    if let Some(apple_id) = get("apple_id") {
        let account = apple_id.to_lowercase();
        return match get(sections::SERVICE) {
            Some(sections::PHOTOS) => of_photos(&account),
            _ => account,
        };
    }
    if kind == "local" {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    let user = ["user", "username", "account", "email", "access_key_id"].iter().find_map(|key| get(key));
    let place =
        ["host", "endpoint", "url", "drive_id", "team_drive", "region", "provider"].iter().find_map(|key| get(key));
    let place = place.map(without_credentials);
    match (user, place) {
        (Some(user), Some(place)) => format!("{kind}:{user}@{place}"),
        (Some(user), None) => format!("{kind}:{user}"),
        (None, Some(place)) => format!("{kind}:{place}"),
        (None, None) => kind.to_owned(),
    }
}

/// The options of rclone's backends that determine the server, the account and the part of it.
const IDENTIFYING: [&str; 18] = [
    "type",
    "host",
    "port",
    "endpoint",
    "url",
    "user",
    "username",
    "account",
    "email",
    "access_key_id",
    "client_id",
    "drive_id",
    "team_drive",
    "root_folder_id",
    "region",
    "provider",
    "remote",
    "upstreams",
];

/// Returns the options that determine which files the sections refer to. Unlike an origin, they differ
/// even for two servers on the same host.
pub fn identifying_options(sections: &Sections) -> String {
    let mut identifying = String::new();
    for (section, options) in sections.iter() {
        for (option, value) in options.iter().filter(|(option, _)| IDENTIFYING.contains(&option.as_str())) {
            let value = if option == "url" { without_credentials(value) } else { value.to_owned() };
            identifying += &format!("{section}.{option}={value}\n");
        }
    }
    identifying
}

/// Removes the user and password before the host of a URL, and a key in its query.
fn without_credentials(url: &str) -> String {
    let Some((_, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{host}{path}")
}

/// Refuses sections that refer to themselves, directly or through others: rclone would never finish
/// opening them.
pub fn refuse_circles(sections: &Sections) -> Result<(), Error> {
    // A section is done when no circle can be reached from it.
    let mut done = BTreeSet::new();
    for start in sections.keys() {
        // The path from `start`: each section on it with the referenced sections that are still to
        // be followed.
        let mut path = vec![(start.as_str(), below(sections, start))];
        while let Some((section, rest)) = path.last_mut() {
            let Some(next) = rest.pop() else {
                done.insert(*section);
                path.pop();
                continue;
            };
            if let Some(begin) = path.iter().position(|(section, _)| *section == next) {
                let circle: Vec<&str> = path[begin..].iter().map(|(section, _)| *section).chain([next]).collect();
                return Err(Error::Circle(next.to_owned(), circle.join(" -> ")));
            }
            if !done.contains(next) {
                path.push((next, below(sections, next)));
            }
        }
    }
    Ok(())
}

/// Returns the sections that a section refers to: by `remote` of crypt and similar backends, and by
/// `upstreams` of union and combine.
fn below<'a>(sections: &'a Sections, section: &str) -> Vec<&'a str> {
    let Some(options) = sections.get(section) else {
        return Vec::new();
    };
    let remotes = options.get("remote").map(String::as_str).into_iter();
    let upstreams = options.get("upstreams").into_iter().flat_map(|list| list.split_whitespace());
    // combine puts a folder before each upstream: folder=remote:path.
    let upstreams = upstreams.map(|upstream| upstream.split_once('=').map_or(upstream, |(_, remote)| remote));
    let names = remotes.chain(upstreams).filter_map(|remote| remote.split_once(':').map(|(name, _)| name));
    // A connection string adds options to the name: remote,option=value:path.
    names.map(|name| name.split_once(',').map_or(name, |(name, _)| name).trim_matches('"')).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{Config, Error};

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Error> {
        let state = ("state_dir", "/nowhere/state");
        Config::read(pairs.iter().chain([&state]).map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn an_origin_has_no_credentials_and_keeps_the_host() {
        for (url, origin) in [
            ("https://me:pw@dav.example/files", "dav.example/files"),
            ("https://me:p@ss@dav.example:8443/files", "dav.example:8443/files"),
            ("https://dav.example/users/me@home.example", "dav.example/users/me@home.example"),
            ("https://dav.example?key=a@b", "dav.example"),
            ("https://dav.example/files?sig=secret#part", "dav.example/files"),
        ] {
            let config = read(&[("location", "rclone://"), ("rclone_type", "webdav"), ("rclone_url", url)]).unwrap();
            assert_eq!(config.origin, format!("webdav:{origin}"), "{url}");
        }
    }

    #[test]
    fn servers_have_their_own_lists_of_leftovers() {
        let list = |pairs: &[(&str, &str)]| {
            let common = [("location", "rclone://"), ("rclone_type", "sftp"), ("rclone_host", "files.example")];
            read(&[&common, pairs].concat()).unwrap().leftovers.unwrap()
        };
        assert_eq!(list(&[]), list(&[("rclone_pass", "other"), ("uploads", "2")]));
        for other in [[("rclone_port", "2222")], [("rclone_user", "other")]] {
            assert_ne!(list(&[]), list(&other), "{other:?}");
        }
    }

    #[test]
    fn remotes_that_refer_to_themselves_are_refused() {
        let of = |pairs: &[(&str, &str)]| {
            let map: HashMap<_, _> = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            Config::read(map).map(|_| ()).map_err(|error| error.to_string())
        };
        let own = [("location", "rclone://"), ("rclone_type", "crypt"), ("rclone_remote", "drive:x")];
        let drive = |kind, key, value| of(&[&own[..], &[("remote.drive.type", kind), (key, value)]].concat());
        for (kind, key, value) in [
            ("crypt", "remote.drive.remote", "drive:x"),
            ("crypt", "remote.drive.remote", "_plakar:"),
            ("crypt", "remote.drive.remote", "drive,strict_names=true:x"),
            ("union", "remote.drive.upstreams", "/tmp drive:x"),
            ("combine", "remote.drive.upstreams", "a=/tmp b=drive:x"),
        ] {
            let message = drive(kind, key, value).unwrap_err();
            assert!(message.contains("refers to itself") && message.contains("drive ->"), "{message}");
        }
        assert_eq!(drive("alias", "remote.drive.remote", "/tmp"), Ok(()));
    }

    /// Two sections may refer to the same section, and a chain of references may be long.
    #[test]
    fn a_long_chain_of_remotes_is_accepted() {
        let mut map = HashMap::from([("location".to_owned(), "rclone://".to_owned())]);
        map.extend(
            [("rclone_type", "union"), ("rclone_upstreams", "r0:a r0:b r1:")].map(|(a, b)| (a.into(), b.into())),
        );
        let last = 5_000;
        for number in 0..last {
            map.insert(format!("remote.r{number}.type"), "alias".to_owned());
            map.insert(format!("remote.r{number}.remote"), format!("r{}:x", number + 1));
        }
        map.insert("rclone_remote".to_owned(), "r0:y".to_owned());
        let config = Config::read(map).unwrap();
        assert!(config.origin.starts_with("union:alias:alias:") && config.origin.ends_with(":x:x:y"));
    }
}
