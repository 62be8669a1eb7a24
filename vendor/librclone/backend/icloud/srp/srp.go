// Package srp is the client side of SRP-6a (RFC 5054) with the 2048-bit group and
// SHA-256, in the variant of Apple's sign-in: a key is derived from the password
// first, and x does not depend on the name of the account.
//
// rclone's client (backend/iclouddrive/api, srp.go) implements the same protocol
// but exports only the sign-in as a whole. That neither reports which step was
// refused and why, nor limits the rounds that a server may request.
package srp

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
)

// maxRounds is the maximum number of rounds of the key derivation that a
// server may request. Apple requests about 20,000; a million takes a third of a
// second.
const maxRounds = 1_000_000

const groupBytes = 256

var (
	prime, _ = new(big.Int).SetString(""+
		"AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050"+
		"A37329CBB4A099ED8193E0757767A13DD52312AB4B03310DCD7F48A9DA04FD50"+
		"E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B8"+
		"55F97993EC975EEAA80D740ADBF4FF747359D041D5C33EA71D281E446B14773B"+
		"CA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748"+
		"544523B524B0D57D5EA77A2775D2ECFA032CFBDBF52FB3786160279004E57AE6"+
		"AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB6"+
		"94B5C803D89F7AE435DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73", 16)
	generator = big.NewInt(2)
)

// Client is the client of one sign-in.
type Client struct {
	secret *big.Int // a
	public *big.Int // A
}

// NewClient returns a client with a new random secret.
func NewClient() *Client {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	secret := new(big.Int).SetBytes(random)
	return &Client{secret: secret, public: new(big.Int).Exp(generator, secret, prime)}
}

// Public returns the client's public value A.
func (c *Client) Public() []byte { return pad(c.public) }

// Prove returns the proofs M1 and M2 for a challenge, which is the server's public
// value B. ok is false for a value that the protocol forbids.
func (c *Client) Prove(account string, key, salt, challenge []byte) (m1, m2 []byte, ok bool) {
	public := new(big.Int).SetBytes(challenge) // B
	if public.Sign() == 0 || public.Cmp(prime) >= 0 {
		return nil, nil, false
	}
	scramble := hashNumber(c.Public(), pad(public)) // u
	if scramble.Sign() == 0 {
		return nil, nil, false
	}
	multiplier := hashNumber(prime.Bytes(), pad(generator)) // k
	inner := hash([]byte(":"), key)
	x := hashNumber(salt, inner)

	base := new(big.Int).Exp(generator, x, prime)
	base.Mul(base, multiplier)
	base.Sub(public, base)
	base.Mod(base, prime)
	exponent := new(big.Int).Mul(scramble, x)
	exponent.Add(exponent, c.secret)
	session := hash(pad(new(big.Int).Exp(base, exponent, prime)))

	mixed := hash(pad(generator))
	for i, b := range hash(prime.Bytes()) {
		mixed[i] ^= b
	}
	m1 = hash(mixed, hash([]byte(account)), salt, c.Public(), pad(public), session)
	m2 = hash(c.Public(), m1, session)
	return m1, m2, true
}

// DeriveKey derives a key from the password, by one of the two protocols that
// Apple uses. It returns false for any other protocol and for an invalid number
// of rounds.
func DeriveKey(password string, salt []byte, rounds int, protocol string) ([]byte, bool) {
	if rounds < 1 || rounds > maxRounds {
		return nil, false
	}
	digest := sha256.Sum256([]byte(password))
	input := string(digest[:])
	switch protocol {
	case "s2k":
	case "s2k_fo":
		input = hex.EncodeToString(digest[:])
	default:
		return nil, false
	}
	key, err := pbkdf2.Key(sha256.New, input, salt, rounds, sha256.Size)
	return key, err == nil
}

// pad returns the bytes of a number, padded to the length of the group's prime.
func pad(n *big.Int) []byte {
	return n.FillBytes(make([]byte, groupBytes))
}

// hash returns the hash of the concatenated parts.
func hash(parts ...[]byte) []byte {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// hashNumber returns the hash of the concatenated parts as a number.
func hashNumber(parts ...[]byte) *big.Int {
	return new(big.Int).SetBytes(hash(parts...))
}
