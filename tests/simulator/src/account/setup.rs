//! `setup.icloud.com/setup/ws/1`: web sessions and the services that an account may use.

use serde_json::{Value, json};

use crate::account::Account;
use crate::account::session::{PCS_COOKIE, PHOTOS_PCS_COOKIE, WEB_TOKEN, cookie, refused};
use crate::kinds::RequestKind;
use crate::rules::{AccountRules, Rules};
use crate::transport::message::{Message, Response};

/// How long a device's consent to access to protected data lasts.
const CONSENT_SECONDS: i64 = 60 * 60;

/// Returns the response to a request to the setup host.
pub(crate) fn respond(account: &mut Account, rules: &Rules, used_bytes: u64, now: i64, message: &Message) -> Response {
    let outcome = match message.kind {
        RequestKind::AccountLogin => account_login(account, rules, now, message),
        RequestKind::Validate => validate(account, rules, now, message),
        RequestKind::RequestPcs => request_pcs(account, rules, now, message),
        RequestKind::WebAccessState => web_access_state(account, rules, now, message),
        RequestKind::DeviceConsent => device_consent(account, rules, now, message),
        RequestKind::StorageUsage => storage_usage(account, rules, used_bytes, now, message),
        _ => Err(Response::empty(404)),
    };
    outcome.unwrap_or_else(|refused| refused)
}

fn account_login(account: &mut Account, rules: &Rules, now: i64, message: &Message) -> Result<Response, Response> {
    refer(&rules.account, message)?;
    let body = message.json()?;
    let token = body["dsWebAuthToken"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Response::json(400, &json!({ "success": false, "error": "Missing apple_id field" })));
    }
    if account.ended_tokens.contains(token) {
        return Err(refused(421));
    }
    let second_factor = account
        .session_tokens
        .get(token)
        .filter(|token| token.china == message.is_to_china() || rules.account.tokens_of_both_domains)
        .map(|token| token.second_factor)
        .ok_or_else(|| Response::json(400, &json!({ "success": false, "error": "Invalid Session Token" })))?;
    let mut response = Response::json(200, &account_info(&rules.account, !second_factor))
        .with_header("set-cookie", cookie("X-APPLE-WEBAUTH-USER", "v1"));
    if second_factor && !rules.account.terms_pending {
        let web = account.start_session(now, message.is_to_china());
        response = response
            .with_header("set-cookie", cookie("X-APPLE-WEBAUTH-HSA-TRUST", "v1"))
            .with_header("set-cookie", cookie("X-APPLE-WEBAUTH-VALIDATE", "v=1:t=simulated"))
            .with_header("set-cookie", cookie(WEB_TOKEN, &web));
    }
    Ok(response)
}

/// Refers a request to the domain of the account. An account of mainland China is also referred to
/// its domain by a request whose origin is not there.
fn refer(rules: &AccountRules, message: &Message) -> Result<(), Response> {
    let china = rules.mainland_china;
    if message.is_to_china() == china && (!china || message.header("Origin") == "https://www.icloud.com.cn") {
        return Ok(());
    }
    Err(Response::json(302, &json!({ "domainToUse": if china { "iCloud.com.cn" } else { "iCloud.com" } })))
}

fn validate(account: &mut Account, rules: &Rules, now: i64, message: &Message) -> Result<Response, Response> {
    account.session_of(message, &rules.session, now).map_err(|_| refused(421))?;
    Ok(Response::json(200, &account_info(&rules.account, false)))
}

fn request_pcs(account: &mut Account, rules: &Rules, now: i64, message: &Message) -> Result<Response, Response> {
    let no_token =
        || Response::json(500, &json!({ "success": false, "error": "Missing X-APPLE-WEBAUTH-TOKEN cookie" }));
    account.session_of(message, &rules.session, now).map_err(|_| no_token())?;
    if !rules.account.web_access || rules.account.terms_pending {
        return Err(no_token());
    }
    account.pcs_requests += 1;
    if account.pcs_requests <= rules.account.pcs_approval_after {
        let text = "Requested the device to upload cookies.";
        return Ok(Response::json(200, &json!({ "isWebAccessAllowed": true, "status": "failure", "message": text })));
    }
    let web = message.cookie(WEB_TOKEN).unwrap_or_default().to_owned();
    let name = if message.json()?["appName"] == "photos" { PHOTOS_PCS_COOKIE } else { PCS_COOKIE };
    let pcs = account.grant_pcs(&web, name);
    let response = json!({
        "isWebAccessAllowed": true, "status": "success", "message": "Cookies attached.",
        "deviceConsentForPCSExpiry": consent_ends(&rules.account, true, now),
    });
    Ok(Response::json(200, &response)
        .with_header("set-cookie", cookie(name, &pcs))
        .with_header("set-cookie", cookie("X-APPLE-WEBAUTH-PCS-Sharing", &pcs)))
}

fn web_access_state(account: &mut Account, rules: &Rules, now: i64, message: &Message) -> Result<Response, Response> {
    account.session_of(message, &rules.session, now).map_err(refused)?;
    let protected = rules.account.advanced_data_protection;
    let consented = !protected || account.pcs_requests >= rules.account.pcs_approval_after;
    Ok(Response::json(
        200,
        &json!({
            "isWebAccessAllowed": rules.account.web_access,
            "isICDRSDisabled": protected,
            "isDeviceConsentedForPCS": consented,
            "deviceConsentForPCSExpiry": consent_ends(&rules.account, consented, now),
        }),
    ))
}

/// The time at which the consent of a device ends, in milliseconds; 0 without consent.
fn consent_ends(rules: &AccountRules, consented: bool, now: i64) -> i64 {
    if rules.advanced_data_protection && consented { (now + CONSENT_SECONDS) * 1000 } else { 0 }
}

fn device_consent(account: &mut Account, rules: &Rules, now: i64, message: &Message) -> Result<Response, Response> {
    account.session_of(message, &rules.session, now).map_err(refused)?;
    let sent = rules.account.advanced_data_protection && rules.account.web_access;
    Ok(Response::json(200, &json!({ "isDeviceConsentNotificationSent": sent })))
}

fn storage_usage(
    account: &mut Account,
    rules: &Rules,
    used: u64,
    now: i64,
    message: &Message,
) -> Result<Response, Response> {
    account.session_of(message, &rules.session, now).map_err(refused)?;
    let quota = rules.drive.quota;
    Ok(Response::json(
        200,
        &json!({
            "storageUsageByMedia": [
                { "mediaKey": "docs", "displayLabel": "Documents", "displayColor": "ff9500", "usageInBytes": used },
            ],
            "storageUsageInfo": {
                "compStorageInBytes": 0,
                "usedStorageInBytes": used,
                "totalStorageInBytes": quota,
                "commerceStorageInBytes": 0,
            },
            "quotaStatus": {
                "overQuota": used > quota,
                "haveMaxQuotaTier": false,
                "almost-full": used * 10 > quota * 9,
                "paidQuota": false,
            },
        }),
    ))
}

fn account_info(rules: &AccountRules, challenge: bool) -> Value {
    let pcs = rules.advanced_data_protection;
    let service = |name: &str| json!({ "pcsRequired": pcs, "url": format!("https://p123-{name}.icloud.com:443"), "status": "active" });
    json!({
        "dsInfo": {
            "hsaVersion": if rules.two_factor { 2 } else { 0 },
            "hsaEnabled": rules.two_factor,
            "dsid": "1000000001",
            "appleId": rules.apple_id,
            "primaryEmail": rules.apple_id,
            "countryCode": rules.country,
            "languageCode": "en-us",
            "locked": false,
            "statusCode": 2,
            "iCDPEnabled": pcs,
            "hasICloudQualifyingDevice": true,
            "isWebAccessAllowed": rules.web_access,
        },
        "webservices": {
            "drivews": service("drivews"),
            "docws": service("docws"),
            "ckdatabasews": service("ckdatabasews"),
            "sharedstreams": service("sharedstreams"),
            "account": { "iCloudEnv": { "shortId": "p", "vipSuffix": "prod" },
                "url": "https://p123-setup.icloud.com:443", "status": "active" },
        },
        "pcsEnabled": true,
        "pcsServiceIdentitiesIncluded": !pcs,
        "iCDPEnabled": pcs,
        "hsaTrustedBrowser": !challenge,
        "hsaChallengeRequired": challenge,
        "isExtendedLogin": true,
        "termsUpdateNeeded": rules.terms_pending,
        "version": 2,
        "apps": { "iclouddrive": {} },
        "appsOrder": ["iclouddrive"],
        "requestInfo": { "country": "US", "timeZone": "GMT", "region": "" },
    })
}
