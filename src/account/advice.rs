//! The explanation of each cause, and the next step.

use crate::rclone::Cause;

/// An explanation and a next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong.
    pub problem: &'static str,
    /// What to do.
    pub next: String,
}

/// Reports whether a person has to sign in, or to approve something with Apple, before anything
/// works again.
pub fn needs_login(cause: Cause) -> bool {
    use Cause::{
        AdpNotApproved, AppSpecificPassword, Locked, NoChallenge, NoPassword, NotSignedIn, OtherDomain, SecurityKeys,
        SessionOver, SignInUnclear, TermsPending, TooManyCodes, TrustOver, WebAccessOff, WrongCode, WrongPassword,
    };
    matches!(
        cause,
        NotSignedIn
            | NoChallenge
            | SessionOver
            | TrustOver
            | WrongPassword
            | NoPassword
            | SignInUnclear
            | AppSpecificPassword
            | Locked
            | AdpNotApproved
            | WebAccessOff
            | TermsPending
            | SecurityKeys
            | OtherDomain
            | WrongCode
            | TooManyCodes
    )
}

/// Returns the advice for a cause and the account `name`, which is empty if the cause concerns no
/// account.
pub fn for_cause(cause: Cause, name: &str) -> Advice {
    let command = format!("plakar-icloud login {name}").trim_end().to_owned();
    let login = format!("run {command}");
    let (problem, next) = match cause {
        Cause::NotSignedIn => ("Not signed in.", login),
        Cause::NoChallenge => {
            ("No sign-in is waiting for a code, or it waited too long.", format!("begin a new one: {command}"))
        }
        Cause::SessionOver => ("The session has ended and could not be renewed.", login),
        Cause::TrustOver => {
            ("Apple no longer trusts this machine and requires a code, as it does about every 30 days.", login)
        }
        Cause::WrongPassword => (
            "Apple rejected the password.",
            format!("it was sent once and is not sent again; {login} and give the password that you use at icloud.com"),
        ),
        Cause::NoPassword => (
            "The session has ended, and there is no password to renew it.",
            format!("{login}; to have it renewed automatically, store the password or give --password-command"),
        ),
        Cause::SignInUnclear => (
            "The outcome of the last sign-ins is unknown; no more are sent, because Apple could lock the account.",
            login,
        ),
        Cause::AppSpecificPassword => (
            "This is an app-specific password (xxxx-xxxx-xxxx-xxxx); iCloud Drive does not accept those.",
            format!("{login} and give the password of the Apple Account itself, the one that you use at icloud.com"),
        ),
        Cause::Locked => (
            "Apple refuses sign-ins to this account, as it does for locked accounts.",
            format!("unlock it at https://iforgot.apple.com, then {login}"),
        ),
        Cause::AdpNotApproved => (
            "Advanced Data Protection is on, and the access to the data was not approved.",
            format!(
                "on an iPhone, switch on Settings > your name > iCloud > Access iCloud Data on the Web; \
                 then {login} and approve the request that the device shows"
            ),
        ),
        Cause::WebAccessOff => (
            "Access to iCloud data on the web is off for this account.",
            format!(
                "on an iPhone, switch on Settings > your name > iCloud > Access iCloud Data on the Web; then {login}"
            ),
        ),
        Cause::TermsPending => (
            "Apple has changed its terms, and they have to be accepted.",
            format!("sign in at https://www.icloud.com and accept them; then {login}"),
        ),
        Cause::SecurityKeys => (
            "The account's second factor is a security key, which this program cannot use.",
            "use an account with trusted devices or phone numbers, or remove the keys on an iPhone: Settings > \
             your name > Sign-In & Security > Security Keys"
                .to_owned(),
        ),
        Cause::OtherDomain => (
            "The account belongs to the other iCloud: icloud.com.cn is that of mainland China, icloud.com that of all \
             other regions.",
            format!("{login}; the sign-in goes there"),
        ),
        Cause::UnknownDomain => (
            "Apple refers the account to a domain where it cannot be used.",
            "install the newest version of plakar-icloud; if it reports this too, file an issue".to_owned(),
        ),
        Cause::Throttled => (
            "Apple limits the requests from this address.",
            "wait before the next sign-in: each attempt prolongs the limit".to_owned(),
        ),
        Cause::ServiceTrouble => (
            "Apple's service has a problem.",
            "look at https://www.apple.com/support/systemstatus/ and try again later".to_owned(),
        ),
        Cause::NoNetwork => (
            "Apple's hosts cannot be reached.",
            "check the network, the name server and the firewall of this machine".to_owned(),
        ),
        Cause::Proxy => (
            "The proxy does not work.",
            "check HTTPS_PROXY and NO_PROXY in the environment in which plakar is started".to_owned(),
        ),
        Cause::Certificate => (
            "The certificate of Apple's host is not trusted: a proxy intercepts the connection, or the CA \
             certificates are missing or out of date.",
            "install the system's ca-certificates, or set SSL_CERT_FILE to a file of trusted certificates".to_owned(),
        ),
        Cause::Clock => (
            "The clock of this machine is wrong.",
            "set it, for example with a time service (timedatectl set-ntp true)".to_owned(),
        ),
        Cause::WrongCode => (
            "The code is wrong, or a newer one was sent.",
            format!("enter the newest code; no new sign-in is needed: {command} --code CODE"),
        ),
        Cause::TooManyCodes => ("Apple accepts no more codes for now.", format!("wait some hours; then {login}")),
        Cause::StateFolder => (
            "The state folder cannot be used.",
            "give this user a folder to write to: --state-dir, or state_dir= in plakar's configuration".to_owned(),
        ),
        Cause::SessionFile => {
            ("The file of the session cannot be used.", format!("let this user read it, or remove it and {login}"))
        }
        Cause::PlakarVersion => (
            "This program does not support this version of plakar.",
            "install plakar 1.1 or newer of the 1 series".to_owned(),
        ),
        Cause::NoDrive => (
            "The account has no iCloud Drive.",
            "open iCloud Drive once at https://www.icloud.com with this account".to_owned(),
        ),
        Cause::Other => (
            "The cause of the failure is unknown.",
            "create a report with plakar-icloud doctor --bundle FILE".to_owned(),
        ),
    };
    Advice { problem, next }
}

impl Advice {
    /// Returns the advice on one line. If `message` adds information, it is inserted between the
    /// explanation and the next step.
    pub fn line(&self, message: &str) -> String {
        let (problem, message) = (self.problem.trim_end_matches('.'), message.trim_end_matches('.'));
        if message.eq_ignore_ascii_case(problem) {
            format!("{problem}. Next: {}", self.next)
        } else {
            format!("{problem} ({message}). Next: {}", self.next)
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    /// The page about trouble is written by hand. This test checks that its table agrees with [`for_cause`].
    #[test]
    fn troubleshooting_md_has_this_table() {
        let row = |cause: &Cause| {
            let Advice { problem, next } = for_cause(*cause, "NAME");
            let name = serde_json::to_value(cause).unwrap();
            format!("| `{}` | {problem} | {next} |\n", name.as_str().unwrap())
        };
        let rows: String = Cause::VARIANTS.iter().map(row).collect();
        let table = format!("| cause | what it means | what to do |\n| --- | --- | --- |\n{rows}");
        assert!(include_str!("../../TROUBLESHOOTING.md").contains(&table), "TROUBLESHOOTING.md must have:\n{table}");
    }
}
