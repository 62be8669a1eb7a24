//! The server's side of SRP-6a as idmsa uses it: RFC 5054's 2048-bit group, SHA-256, the user name left out of x.

use num_bigint::BigUint;
use sha2::{Digest, Sha256};

use crate::rules::SrpProtocol;

const PRIME: &str = "AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050\
A37329CBB4A099ED8193E0757767A13DD52312AB4B03310DCD7F48A9DA04FD50\
E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B8\
55F97993EC975EEAA80D740ADBF4FF747359D041D5C33EA71D281E446B14773B\
CA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748\
544523B524B0D57D5EA77A2775D2ECFA032CFBDBF52FB3786160279004E57AE6\
AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB6\
94B5C803D89F7AE435DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73";
const PRIME_BYTES: usize = 256;

/// A challenge that was sent, with the values that check the client's proof.
#[derive(Clone)]
pub(crate) struct Challenge {
    pub(crate) salt: Vec<u8>,
    /// The server's public value, padded to the prime's length.
    pub(crate) b_public: Vec<u8>,
    /// The proof that a client with the right password sends, and the proof that the server
    /// returns.
    expected: Proofs,
}

#[derive(Clone)]
struct Proofs {
    client: Vec<u8>,
    server: Vec<u8>,
}

/// The fixed inputs of one exchange.
pub(crate) struct Inputs<'a> {
    pub(crate) account: &'a str,
    pub(crate) password: &'a str,
    pub(crate) protocol: SrpProtocol,
    pub(crate) iterations: u32,
    pub(crate) salt: &'a [u8],
    pub(crate) secret: &'a [u8],
    pub(crate) a_public: &'a [u8],
}

impl Challenge {
    /// Creates the challenge for a client's public value. Returns `None` if the value is 0 modulo
    /// the prime, which RFC 5054 forbids.
    pub(crate) fn new(inputs: &Inputs<'_>) -> Option<Self> {
        let prime = prime();
        let generator = BigUint::from(2_u8);
        let a_public = BigUint::from_bytes_be(inputs.a_public);
        if &a_public % &prime == BigUint::ZERO {
            return None;
        }
        let x = BigUint::from_bytes_be(&password_hash(inputs));
        let verifier = generator.modpow(&x, &prime);
        let multiplier = BigUint::from_bytes_be(&hash(&[&prime.to_bytes_be(), &padded(&generator)]));
        let secret = BigUint::from_bytes_be(inputs.secret);
        let b_public = (multiplier * &verifier + generator.modpow(&secret, &prime)) % &prime;

        let (a_padded, b_padded) = (padded(&a_public), padded(&b_public));
        let u = BigUint::from_bytes_be(&hash(&[&a_padded, &b_padded]));
        let shared = (&a_public * verifier.modpow(&u, &prime)).modpow(&secret, &prime);
        let key = hash(&[&padded(&shared)]);
        let group: Vec<u8> = hash(&[&prime.to_bytes_be()])
            .iter()
            .zip(hash(&[&padded(&generator)]))
            .map(|(prime, generator)| prime ^ generator)
            .collect();
        let account = hash(&[inputs.account.as_bytes()]);
        let client = hash(&[&group, &account, inputs.salt, &a_padded, &b_padded, &key]).to_vec();
        let server = hash(&[&a_padded, &client, &key]).to_vec();
        Some(Self { salt: inputs.salt.to_vec(), b_public: b_padded, expected: Proofs { client, server } })
    }

    pub(crate) fn accepts(&self, m1: &[u8], m2: &[u8]) -> bool {
        self.expected.client == m1 && self.expected.server == m2
    }
}

fn password_hash(inputs: &Inputs<'_>) -> [u8; 32] {
    let digest = Sha256::digest(inputs.password.as_bytes());
    let secret = match inputs.protocol {
        SrpProtocol::S2k => digest.to_vec(),
        SrpProtocol::S2kFo => hex::encode(digest).into_bytes(),
    };
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(&secret, inputs.salt, inputs.iterations, &mut key);
    hash(&[inputs.salt, &hash(&[b":", &key])])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn prime() -> BigUint {
    BigUint::parse_bytes(PRIME.as_bytes(), 16).unwrap_or_default()
}

fn padded(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let mut padded = vec![0; PRIME_BYTES.saturating_sub(bytes.len())];
    padded.extend(bytes);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(a_public: &[u8]) -> Option<Challenge> {
        Challenge::new(&Inputs {
            account: "user@example.com",
            password: "correct horse",
            protocol: SrpProtocol::S2k,
            iterations: 1,
            salt: &[1; 16],
            secret: &[2; 32],
            a_public,
        })
    }

    #[test]
    fn only_both_proofs_together_are_accepted() {
        let challenge = challenge(&[3; 256]).unwrap();
        let Proofs { client, server } = &challenge.expected;
        assert!(challenge.accepts(client, server));
        assert!(!challenge.accepts(client, client));
        assert!(!challenge.accepts(server, server));
    }

    #[test]
    fn a_public_value_of_zero_is_refused() {
        assert!(challenge(&[0; 256]).is_none());
        assert!(challenge(&prime().to_bytes_be()).is_none());
    }
}
