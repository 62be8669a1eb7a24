// Package srp is the client of SRP-6a (RFC 5054) with the 2048-bit group and
// SHA-256, in the variant of Apple's sign-in: the password is derived first, and
// the account's name is not part of x.
//
// rclone's client (backend/iclouddrive/api, srp.go) implements the same, but does
// not export any part of it. Its sign-in as a whole can neither report which
// step was refused and why, nor limit the rounds that a server requests.
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
	Prime, _ = new(big.Int).SetString(""+
		"AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050"+
		"A37329CBB4A099ED8193E0757767A13DD52312AB4B03310DCD7F48A9DA04FD50"+
		"E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B8"+
		"55F97993EC975EEAA80D740ADBF4FF747359D041D5C33EA71D281E446B14773B"+
		"CA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748"+
		"544523B524B0D57D5EA77A2775D2ECFA032CFBDBF52FB3786160279004E57AE6"+
		"AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB6"+
		"94B5C803D89F7AE435DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73", 16)
	Generator = big.NewInt(2)
)

// Proof is the client's secret of a sign-in.
type Proof struct {
	secret *big.Int // a
	Public *big.Int // A
}

// NewProof returns a proof with a new random secret.
func NewProof() (*Proof, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	secret := new(big.Int).SetBytes(random)
	return &Proof{secret: secret, Public: new(big.Int).Exp(Generator, secret, Prime)}, nil
}

// Answer computes the proofs M1 and M2 for a challenge. ok is false for a
// challenge that no honest server sends.
func (p *Proof) Answer(account string, key, salt, challenge []byte) (m1, m2 []byte, ok bool) {
	public := new(big.Int).SetBytes(challenge) // B
	if public.Sign() == 0 || public.Cmp(Prime) >= 0 {
		return nil, nil, false
	}
	scramble := HashNumber(Pad(p.Public), Pad(public)) // u
	if scramble.Sign() == 0 {
		return nil, nil, false
	}
	multiplier := HashNumber(Prime.Bytes(), Pad(Generator)) // k
	inner := Hash([]byte(":"), key)
	x := HashNumber(salt, inner)

	base := new(big.Int).Exp(Generator, x, Prime)
	base.Mul(base, multiplier)
	base.Sub(public, base)
	base.Mod(base, Prime)
	exponent := new(big.Int).Mul(scramble, x)
	exponent.Add(exponent, p.secret)
	session := Hash(Pad(new(big.Int).Exp(base, exponent, Prime)))

	mixed := Hash(Pad(Generator))
	for i, b := range Hash(Prime.Bytes()) {
		mixed[i] ^= b
	}
	m1 = Hash(mixed, Hash([]byte(account)), salt, Pad(p.Public), Pad(public), session)
	m2 = Hash(Pad(p.Public), m1, session)
	return m1, m2, true
}

// DeriveKey derives a secret from the password, by one of the two protocols
// that Apple names. It returns false for another protocol and for an invalid
// number of rounds.
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

// Pad returns a number in the length of the group's prime.
func Pad(n *big.Int) []byte {
	return n.FillBytes(make([]byte, groupBytes))
}

// Hash returns the hash of the concatenated parts.
func Hash(parts ...[]byte) []byte {
	hash := sha256.New()
	for _, part := range parts {
		hash.Write(part)
	}
	return hash.Sum(nil)
}

// HashNumber returns the hash of the concatenated parts as a number.
func HashNumber(parts ...[]byte) *big.Int {
	return new(big.Int).SetBytes(Hash(parts...))
}
