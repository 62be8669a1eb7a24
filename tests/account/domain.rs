//! Accounts of mainland China, whose iCloud has hosts of its own. No such account was available:
//! the simulator follows what other clients report.

use std::collections::BTreeMap;

use icloud_simulator::{Content, FaultAction, FaultRule, RequestKind};
use plakar_host::{Backup, Options, Settings};

use crate::person::{CODE, Person};

/// The domain in a stored session.
fn stored(person: &Person) -> String {
    person.session()["domain"].as_str().unwrap_or_default().to_owned()
}

/// Returns a user without a session whose account belongs to mainland China, and for whom Apple
/// names a country.
fn of_china(country: &str, tokens_of_both_domains: bool) -> Person {
    let person = Person::new();
    person.simulator.rules(|rules| {
        rules.account.mainland_china = true;
        rules.account.country = country.to_owned();
        rules.account.tokens_of_both_domains = tokens_of_both_domains;
    });
    person
}

/// Checks that all requests since the last reset went to hosts of one domain.
#[track_caller]
fn only_at(person: &Person, china: bool) {
    let requests = person.simulator.requests();
    let elsewhere: Vec<_> = requests.iter().filter(|request| request.host.ends_with(".cn") != china).collect();
    assert!(!requests.is_empty() && elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn the_domain_is_found_before_a_code_is_sent() {
    for tokens_of_both_domains in [false, true] {
        let person = of_china("CHN", tokens_of_both_domains);
        person.sign_in();
        assert_eq!(person.count(RequestKind::PushCode), 1);
        assert_eq!(person.count(RequestKind::SigninComplete), 2, "the password is proven at both domains");
        assert_eq!(stored(&person), "icloud.com.cn");
        person.simulator.reset_counts();
        person.run(&["status"]).ends(0);
        only_at(&person, true);

        person.simulator.reset_counts();
        person.sign_in();
        only_at(&person, true);
        assert_eq!(person.count(RequestKind::SigninComplete), 1, "the domain is known");
    }
}

/// Apple names the domain only after the code.
#[test]
fn the_domain_may_be_named_only_after_the_code() {
    let person = of_china("USA", true);
    person.sign_in();
    assert_eq!(person.count(RequestKind::SigninComplete), 1, "the tokens are valid at both domains");
    assert_eq!(stored(&person), "icloud.com.cn");

    let person = of_china("USA", false);
    person.begin(&[]).ends(10);
    let refused = person.run(&["login", "--code", CODE, "--json"]).ends(10).json();
    assert_eq!(refused["cause"], "other-domain", "{refused}");
    assert!(refused["said"].as_str().unwrap().contains("icloud.com.cn"), "{refused}");
    person.simulator.reset_counts();
    person.sign_in();
    only_at(&person, true);
}

#[test]
fn an_account_without_a_second_factor_signs_in_at_its_domain() {
    for tokens_of_both_domains in [false, true] {
        let person = of_china("CHN", tokens_of_both_domains);
        person.simulator.rules(|rules| rules.account.two_factor = false);
        person.begin(&[]).ends(0);
        assert_eq!(stored(&person), "icloud.com.cn");
    }
}

/// Backups and restores, with sessions that end meanwhile, use only the hosts of the domain.
#[tokio::test]
async fn only_hosts_of_the_domain_are_used() {
    let person = of_china("CHN", false);
    person.sign_in();
    person.simulator.put_file("a/b.txt", Content::from(&b"hello"[..]), 1_700_000_000_000);
    person.simulator.put_file("empty", Content::from(&b""[..]), 1_700_000_000_000);
    person.simulator.reset_counts();
    let host = person.host();
    let first = host.backup(&Settings::new("icloud://"), &Options::default(), Backup::first()).await.unwrap();
    person.simulator.end_sessions(421);
    let second = host.backup(&Settings::new("icloud://"), &Options::default(), Backup::first()).await.unwrap();
    assert_eq!(first.contents(), second.contents());
    assert_eq!(first.contents().len(), 2);
    person.simulator.end_sessions(421);
    let exported = host.restore(&Settings::new("icloud:///to"), &Options::default(), &first.restore("/")).await;
    exported.unwrap().end.unwrap();
    let snapshot = person.simulator.snapshot();
    assert_eq!(snapshot.iter().filter(|item| item.path.starts_with("to/")).count(), 3, "{snapshot:?}");
    assert_eq!(person.count(RequestKind::SigninComplete), 2);
    for kind in [RequestKind::ContentGet, RequestKind::ContentPost] {
        assert!(person.count(kind) > 0, "{kind:?}");
    }
    only_at(&person, true);
}

/// The session is renewed at the new domain if that accepts the tokens or the trust of the old one.
/// Otherwise a person signs in there.
#[test]
fn the_session_of_an_account_that_moves_is_renewed_or_needs_a_login() {
    let person = Person::signed_in();
    for china in [true, false] {
        person.simulator.rules(|rules| {
            rules.account.mainland_china = china;
            rules.account.tokens_of_both_domains = true;
        });
        person.run(&["status"]).ends(0);
        assert_eq!(stored(&person), if china { "icloud.com.cn" } else { "" });
        person.simulator.reset_counts();
        person.run(&["status"]).ends(0);
        only_at(&person, china);
        assert_eq!(person.count(RequestKind::AccountLogin), 0);
    }

    let person = Person::signed_in();
    for china in [true, false] {
        person.simulator.rules(|rules| rules.account.mainland_china = china);
        for _ in 0..2 {
            let refused = person.run(&["status", "--json"]).ends(10).json();
            assert!(refused["reason"].as_str().unwrap().contains("no longer trusts"), "{refused}");
        }
        assert_eq!(person.count(RequestKind::PushCode), 0);
        assert_eq!(person.count(RequestKind::SigninComplete), 2, "one proof at each domain");
        person.simulator.reset_counts();
        person.sign_in();
        only_at(&person, china);
        person.run(&["status"]).ends(0);
        person.simulator.reset_counts();
    }
}

#[test]
fn the_diagnosis_names_the_domain() {
    let person = of_china("CHN", false);
    person.sign_in();
    person.simulator.reset_counts();
    let report = person.run(&["doctor"]).ends(0);
    assert!(report.stdout.contains("at icloud.com.cn"), "{report:?}");
    only_at(&person, true);
    let report = Person::signed_in().run(&["doctor"]).ends(0);
    assert!(report.stdout.contains("at icloud.com,"), "{report:?}");
}

/// No token is sent to a domain that is not iCloud's, or back and forth between the two.
#[test]
fn an_unknown_domain_gets_no_token() {
    let refer = |person: &Person, header: Option<&str>, body: &str| {
        let headers = header.map(|to| ("Location".to_owned(), to.to_owned())).into_iter().collect();
        let refusal = FaultAction::Status { status: 302, body: body.to_owned(), headers };
        person.simulator.add_fault(FaultRule::new(RequestKind::AccountLogin, refusal));
    };
    for named in ["icloud.com.cn.example.org", "example.org", "evil-icloud.com.cn", ""] {
        let body = serde_json::json!({ "domainToUse": named }).to_string();
        let location = named.is_empty().then_some("https://example.org/setup/ws/1/accountLogin");
        let person = Person::new();
        person.begin(&[]).ends(10);
        refer(&person, location, &body);
        let refused = person.run(&["login", "--code", CODE, "--json"]).json();
        assert_eq!(refused["cause"], if named.is_empty() { "other" } else { "unknown-domain" }, "{refused}");
        assert_eq!(person.count(RequestKind::RefusedHost), 0);

        let person = Person::signed_in();
        person.simulator.end_sessions(421);
        refer(&person, location, &body);
        let status = person.run(&["status", "--json"]).json();
        if !named.is_empty() {
            assert_eq!(status["refused"]["cause"], "unknown-domain", "{status}");
        }
        assert_eq!(person.count(RequestKind::RefusedHost), 0);
        assert_eq!(person.count(RequestKind::SigninComplete), 1);
        only_at(&person, false);
    }

    // Each domain refers to the other.
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    for named in ["iCloud.com.cn", "iCloud.com"] {
        let refusal = FaultAction::Status {
            status: 302,
            body: serde_json::json!({ "domainToUse": named }).to_string(),
            headers: BTreeMap::new(),
        };
        person.simulator.add_fault(FaultRule::new(RequestKind::AccountLogin, refusal).times(1));
    }
    let status = person.run(&["status", "--json"]).ends(1).json();
    assert_eq!(status["refused"]["cause"], "unknown-domain", "{status}");
    assert_eq!(person.count(RequestKind::AccountLogin), 2);
}

/// Apple may name the domain by a redirect, or in a response without services.
#[test]
fn every_form_of_a_referral_names_the_domain() {
    let location =
        BTreeMap::from([("Location".to_owned(), "https://setup.icloud.com.cn/setup/ws/1/accountLogin".to_owned())]);
    let named = serde_json::json!({ "domainToUse": "iCloud.com.cn" }).to_string();
    for (status, body, headers) in [(302, String::new(), location), (200, named, BTreeMap::new())] {
        let person = of_china("USA", true);
        let referral = FaultAction::Status { status, body, headers };
        let fault = person.simulator.add_fault(FaultRule::new(RequestKind::AccountLogin, referral).times(1));
        person.sign_in();
        assert_eq!(person.simulator.faults_applied()[&fault], 1);
        assert_eq!(stored(&person), "icloud.com.cn");
        assert_eq!(person.count(RequestKind::AccountLogin), 2, "the request is repeated at the domain");
    }
}
