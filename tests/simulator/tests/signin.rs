//! Sign-in, trust and web sessions.

mod client;

use client::{AUTH, Client, ROOT, SETUP, SignIn};
use icloud_simulator::{CodeAnswer, Config, RequestKind, Simulator, SrpProtocol, TrustedPhone};
use serde_json::json;

const PASSWORD: &str = "correct horse";
const CODE: &str = "123456";

fn start() -> Simulator {
    Simulator::start(Config::default()).unwrap()
}

#[test]
fn sign_in_requires_a_code_after_either_password_derivation() {
    for protocol in [SrpProtocol::S2k, SrpProtocol::S2kFo] {
        let simulator = start();
        simulator.rules(|rules| rules.account.protocol = protocol);
        let (_, complete) = SignIn::start(&simulator, PASSWORD, &[]);
        assert_eq!(complete.status, 409, "{protocol:?}");
        assert_eq!(complete.json()["authType"], "hsa2");
    }
}

#[test]
fn a_wrong_password_gets_error_minus_20101() {
    let simulator = start();
    let (_, complete) = SignIn::start(&simulator, "wrong", &[]);
    assert_eq!(complete.status, 401);
    assert_eq!(complete.json()["serviceErrors"][0]["code"], "-20101");
}

#[test]
fn a_sign_in_with_code_and_trust_leads_to_a_valid_session() {
    let simulator = start();
    let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
    assert_eq!(sign_in.client.put(&format!("{AUTH}/verify/trusteddevice/securitycode"), &json!(null)).status, 202);
    assert_eq!(sign_in.code(CODE).status, 204);
    assert!(!sign_in.trust().is_empty());
    let login = sign_in.account_login().json();
    assert_eq!(login["webservices"]["drivews"]["url"], "https://p123-drivews.icloud.com:443");
    assert_eq!(login["hsaChallengeRequired"], false);
    assert_eq!(sign_in.finish().list_all(&[ROOT]).status, 200);
}

#[test]
fn without_the_code_there_is_no_trust_and_no_session() {
    let simulator = start();
    let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
    assert_eq!(sign_in.trust(), "");
    let login = sign_in.account_login();
    assert_eq!(login.json()["hsaChallengeRequired"], true);
    assert_eq!(login.cookie("X-APPLE-WEBAUTH-TOKEN"), None);
}

#[test]
fn a_wrong_code_gets_error_minus_21669_and_can_be_repeated_up_to_the_limit() {
    let simulator = start();
    simulator.rules(|rules| rules.account.code_tries = 2);
    let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
    let refused = sign_in.code("000000");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["service_errors"][0]["code"], "-21669");
    sign_in.code("000001");
    assert_eq!(sign_in.code(CODE).json()["serviceErrors"][0]["code"], "-21674");
    simulator.forgive();
    assert_eq!(sign_in.code(CODE).status, 204);
}

#[test]
fn a_new_push_invalidates_the_previous_code() {
    let simulator = start();
    simulator.rules(|rules| rules.account.push_renews_code = true);
    let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
    for _ in 0..2 {
        sign_in.client.put(&format!("{AUTH}/verify/trusteddevice/securitycode"), &json!(null));
    }
    assert_eq!(sign_in.code(CODE).status, 401);
    assert_eq!(sign_in.code("123457").status, 204);
}

#[test]
fn a_trust_token_replaces_the_code_for_30_days() {
    let simulator = start();
    let trust = simulator.mint_session().trust_token;
    let (sign_in, complete) = SignIn::start(&simulator, PASSWORD, &[&trust]);
    assert_eq!(complete.status, 200);
    assert_eq!(sign_in.finish().list_all(&[ROOT]).status, 200);

    simulator.advance_clock(30 * 24 * 3600 - 60);
    assert_eq!(SignIn::start(&simulator, PASSWORD, &[&trust]).1.status, 200);
    simulator.advance_clock(61);
    assert_eq!(SignIn::start(&simulator, PASSWORD, &[&trust]).1.status, 409);
}

#[test]
fn sign_in_requires_a_code_after_trust_has_ended() {
    let simulator = start();
    let trust = simulator.mint_session().trust_token;
    simulator.end_trust();
    assert_eq!(SignIn::start(&simulator, PASSWORD, &[&trust]).1.status, 409);
}

#[test]
fn a_correct_code_can_get_status_409_or_412() {
    let cases = [
        (CodeAnswer::ConflictWithToken, 409, true),
        (CodeAnswer::ConflictWithoutToken, 409, false),
        (CodeAnswer::PreconditionFailed, 412, false),
    ];
    for (response, status, token) in cases {
        let simulator = start();
        simulator.rules(|rules| rules.account.code_answer = response);
        let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
        let reply = sign_in.code(CODE);
        assert_eq!(reply.status, status);
        assert_eq!(reply.json()["securityCode"]["valid"], true);
        assert_eq!(!reply.header("X-Apple-Session-Token").is_empty(), token);
        assert!(!sign_in.trust().is_empty(), "{response:?}");
    }
}

#[test]
fn only_the_code_of_a_trusted_phone_is_accepted_for_a_phone() {
    let simulator = start();
    simulator.rules(|rules| {
        rules.account.trusted_devices = false;
        let phone = |id| TrustedPhone { id, number: format!("••{id}"), mode: String::from("sms") };
        rules.account.phones = vec![phone(1), phone(2)];
    });
    let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
    let state = sign_in.client.get(AUTH).json();
    assert_eq!(state["noTrustedDevices"], true);
    assert_eq!(state["trustedPhoneNumbers"][1]["id"], 2);
    let phone =
        |id: i64, code: &str| json!({ "phoneNumber": { "id": id }, "mode": "sms", "securityCode": { "code": code } });
    assert_eq!(sign_in.client.put(&format!("{AUTH}/verify/phone"), &phone(2, "")).status, 200);
    assert_eq!(sign_in.client.put(&format!("{AUTH}/verify/phone"), &phone(3, "")).status, 412);
    let url = format!("{AUTH}/verify/phone/securitycode");
    assert_eq!(sign_in.client.post(&url, &phone(2, CODE)).status, 401);
    assert_eq!(sign_in.client.post(&url, &phone(3, "654321")).status, 401);
    let accepted = sign_in.client.post(&url, &phone(2, "654321"));
    assert_eq!(accepted.status, 204);
    sign_in.absorb(&accepted);
    assert!(!sign_in.trust().is_empty());
}

#[test]
fn an_account_with_security_keys_gets_a_challenge_and_no_phones() {
    let simulator = start();
    simulator.rules(|rules| rules.account.security_keys = vec![String::from("key")]);
    let (sign_in, complete) = SignIn::start(&simulator, PASSWORD, &[]);
    assert_eq!(complete.status, 409);
    let state = sign_in.client.get(AUTH).json();
    assert!(state["fsaChallenge"].is_object());
    assert!(state["trustedPhoneNumbers"].is_null());
}

#[test]
fn an_account_without_a_second_factor_can_require_repair() {
    let simulator = start();
    simulator.rules(|rules| {
        rules.account.two_factor = false;
        rules.account.repair_required = true;
    });
    let (mut sign_in, complete) = SignIn::start(&simulator, PASSWORD, &[]);
    assert_eq!(complete.status, 412);
    let repaired = sign_in.client.post(&format!("{AUTH}/repair/complete"), &json!({}));
    assert_eq!(repaired.status, 200);
    sign_in.absorb(&repaired);
    assert_eq!(sign_in.finish().list_all(&[ROOT]).status, 200);
}

#[test]
fn too_many_wrong_passwords_lock_the_account() {
    let simulator = start();
    simulator.rules(|rules| rules.account.lock_after = 2);
    for _ in 0..2 {
        SignIn::start(&simulator, "wrong", &[]);
    }
    assert_eq!(SignIn::start(&simulator, PASSWORD, &[]).1.status, 403);
    simulator.forgive();
    assert_eq!(SignIn::start(&simulator, PASSWORD, &[]).1.status, 409);
}

#[test]
fn a_request_without_a_widget_key_is_refused() {
    let simulator = start();
    let reply = Client::new(&simulator).post(&format!("{AUTH}/signin/init"), &json!({}));
    assert_eq!(reply.status, 400);
}

#[test]
fn account_login_redirects_an_account_of_mainland_china() {
    let simulator = start();
    simulator.rules(|rules| rules.account.mainland_china = true);
    let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
    sign_in.code(CODE);
    let reply = sign_in.account_login();
    assert_eq!((reply.status, reply.json()["domainToUse"].as_str()), (302, Some("iCloud.com.cn")));
    let there = |sign_in: &SignIn| {
        let body = json!({ "dsWebAuthToken": sign_in.session_token });
        sign_in.client.post("https://setup.icloud.com.cn/setup/ws/1/accountLogin", &body)
    };
    assert_eq!(there(&sign_in).status, 302, "the origin is not that of the domain");
    sign_in.client.headers.push(("Origin".to_owned(), "https://www.icloud.com.cn".to_owned()));
    assert_eq!(there(&sign_in).json()["error"], "Invalid Session Token");
    simulator.rules(|rules| rules.account.tokens_of_both_domains = true);
    assert_eq!(there(&sign_in).json()["webservices"]["docws"]["url"], "https://p123-docws.icloud.com.cn:443");
    simulator.rules(|rules| rules.account.mainland_china = false);
    assert_eq!(there(&sign_in).json()["domainToUse"], "iCloud.com");
}

#[test]
fn no_session_starts_while_terms_are_pending() {
    let simulator = start();
    simulator.rules(|rules| rules.account.terms_pending = true);
    let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
    sign_in.code(CODE);
    let login = sign_in.account_login();
    assert_eq!(login.json()["termsUpdateNeeded"], true);
    assert_eq!(login.cookie("X-APPLE-WEBAUTH-TOKEN"), None);
}

#[test]
fn account_login_distinguishes_a_missing_and_an_invalid_token() {
    let simulator = start();
    let client = Client::new(&simulator);
    let login = |token: &str| {
        let reply = client.post(&format!("{SETUP}/accountLogin"), &json!({ "dsWebAuthToken": token }));
        (reply.status, reply.json()["error"].clone())
    };
    assert_eq!(login(""), (400, json!("Missing apple_id field")));
    assert_eq!(login("nonsense"), (400, json!("Invalid Session Token")));
}

#[test]
fn data_protection_requires_a_pcs_cookie_that_a_device_approves() {
    let simulator = start();
    let mut client = Client::signed_in(&simulator);
    simulator.rules(|rules| {
        rules.account.advanced_data_protection = true;
        rules.account.pcs_approval_after = 1;
    });
    let refused = client.list_all(&[ROOT]);
    assert_eq!(refused.status, 423);
    assert_eq!(refused.json()["errorReason"], "Missing PCS cookies from the request");

    let ask = |client: &Client| client.post(&format!("{SETUP}/requestPCS"), &json!({ "appName": "iclouddrive" }));
    assert_eq!(ask(&client).json()["status"], "failure");
    let approved = ask(&client);
    assert_eq!(approved.json()["status"], "success");
    let pcs = approved.cookie("X-APPLE-WEBAUTH-PCS-Documents").unwrap();
    let without = client.cookies.clone();
    client.cookies = format!("{without}; X-APPLE-WEBAUTH-PCS-Documents=other");
    assert_eq!(client.list_all(&[ROOT]).status, 423);
    client.cookies = format!("{without}; X-APPLE-WEBAUTH-PCS-Documents={pcs}");
    assert_eq!(client.list_all(&[ROOT]).status, 200);

    simulator.end_pcs();
    assert_eq!(client.list_all(&[ROOT]).status, 423);
}

#[test]
fn a_minted_session_of_a_protected_account_has_its_pcs_cookie() {
    let simulator = start();
    simulator.rules(|rules| rules.account.advanced_data_protection = true);
    assert_eq!(Client::signed_in(&simulator).list_all(&[ROOT]).status, 200);
}

#[test]
fn an_ended_session_gets_the_given_status_and_is_not_valid() {
    for status in [421, 401, 423] {
        let simulator = start();
        let client = Client::signed_in(&simulator);
        assert_eq!(client.post(&format!("{SETUP}/validate"), &json!(null)).status, 200);
        simulator.end_sessions(status);
        assert_eq!(client.list_all(&[ROOT]).status, status);
        assert_eq!(client.post(&format!("{SETUP}/validate"), &json!(null)).status, 421);
        assert_eq!(Client::signed_in(&simulator).list_all(&[ROOT]).status, 200, "a later session lives");
    }
}

#[test]
fn without_web_access_requests_get_421_and_the_state_has_the_reason() {
    let simulator = start();
    let client = Client::signed_in(&simulator);
    simulator.rules(|rules| rules.account.web_access = false);
    assert_eq!(client.list_all(&[ROOT]).status, 421);
    assert_eq!(client.post(&format!("{SETUP}/requestPCS"), &json!({ "appName": "iclouddrive" })).status, 500);
    let state = client.post(&format!("{SETUP}/requestWebAccessState"), &json!(null)).json();
    assert_eq!((&state["isWebAccessAllowed"], &state["isICDRSDisabled"]), (&json!(false), &json!(false)));
}

#[test]
fn the_error_of_a_missing_session_has_apples_text() {
    let simulator = start();
    let reply = Client::new(&simulator).list_all(&[ROOT]);
    assert_eq!(reply.status, 421);
    assert_eq!(reply.json()["error"], "Missing X-APPLE-WEBAUTH-TOKEN cookie");
}

#[test]
fn sessions_end_by_age_by_count_and_after_a_number_of_requests() {
    let simulator = start();
    let client = Client::signed_in(&simulator);
    simulator.advance_clock(24 * 3600);
    assert_eq!(client.list_all(&[ROOT]).status, 421);

    let client = Client::signed_in(&simulator);
    simulator.rules(|rules| rules.session.requests = 2);
    let seen: Vec<u16> = (0..3).map(|_| client.list_all(&[ROOT]).status).collect();
    assert_eq!(seen, [200, 200, 421]);
    simulator.rules(|rules| rules.session.requests = 0);

    let clients = [Client::signed_in(&simulator), Client::signed_in(&simulator)];
    simulator.end_sessions_after(2, 401);
    let seen: Vec<u16> = (0..4).map(|index| clients[index % 2].list_all(&[ROOT]).status).collect();
    assert_eq!(seen, [200, 200, 401, 401]);
}

#[test]
fn sign_in_requests_are_counted_by_kind() {
    let simulator = start();
    SignIn::start(&simulator, PASSWORD, &[]);
    let counts = simulator.counts();
    for kind in [RequestKind::Authorize, RequestKind::SigninInit, RequestKind::SigninComplete] {
        assert_eq!(counts.of(kind), 1, "{kind:?}");
    }
    assert_eq!(counts.total.requests, 3);
}

#[test]
fn storage_usage_returns_the_quota_and_its_use() {
    let simulator = start();
    simulator.rules(|rules| rules.drive.quota = 1000);
    simulator.put_file("a.txt", b"12345"[..].into(), 0);
    let usage = Client::signed_in(&simulator).post(&format!("{SETUP}/storageUsageInfo"), &json!(null)).json();
    assert_eq!(usage["storageUsageInfo"]["usedStorageInBytes"], 5);
    assert_eq!(usage["storageUsageInfo"]["totalStorageInBytes"], 1000);
}

#[test]
fn a_session_token_can_end_before_its_web_session() {
    let simulator = start();
    let (mut sign_in, _) = SignIn::start(&simulator, PASSWORD, &[]);
    sign_in.code(CODE);
    let cookie = sign_in.account_login().cookie("X-APPLE-WEBAUTH-TOKEN").unwrap();
    simulator.end_session_tokens();
    assert_eq!(sign_in.account_login().status, 421);
    let mut client = Client::new(&simulator);
    client.cookies = format!("X-APPLE-WEBAUTH-TOKEN={cookie}");
    assert_eq!(client.list_all(&[ROOT]).status, 200);
}
