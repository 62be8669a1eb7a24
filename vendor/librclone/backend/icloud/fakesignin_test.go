package icloud

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/srp"
	"plakar-icloud/librclone/internal/simtest"
)

// fakeSRP is the server's side of a sign-in.
type fakeSRP struct {
	salt     []byte
	verifier *big.Int
	secret   *big.Int
	public   *big.Int
	account  string
	client   *big.Int // A
}

// accepts reports whether a proof is right.
func (s *fakeSRP) accepts(m1 []byte) bool {
	scramble := srp.HashNumber(srp.Pad(s.client), srp.Pad(s.public))
	base := new(big.Int).Exp(s.verifier, scramble, srp.Prime)
	base.Mul(base, s.client)
	session := srp.Hash(srp.Pad(base.Exp(base, s.secret, srp.Prime)))
	mixed := srp.Hash(srp.Pad(srp.Generator))
	for i, b := range srp.Hash(srp.Prime.Bytes()) {
		mixed[i] ^= b
	}
	return bytes.Equal(m1, srp.Hash(mixed, srp.Hash([]byte(s.account)), s.salt, srp.Pad(s.client), srp.Pad(s.public), session))
}

func (c *fakeCloud) answerAccount(kind string, req *http.Request, sent []byte, answer *fakeAnswer, say func(int, any) *fakeAnswer) *fakeAnswer {
	account := func() *fakeAnswer {
		service := func(name string) simtest.JSON {
			return simtest.JSON{"url": "https://p1-" + name + ".icloud.com:443", "pcsRequired": c.needsPCS}
		}
		return say(200, simtest.JSON{"dsInfo": simtest.JSON{"hsaVersion": 2}, "hsaChallengeRequired": false,
			"webservices": simtest.JSON{"drivews": service("drivews"), "docws": service("docws")}})
	}
	switch kind {
	case "signin":
		answer.header.Set("scnt", "scnt")
		return answer
	case "federate", "complete":
		return c.answerProof(kind, sent, answer, say)
	case "init":
		c.srp = newFakeSRP(c.password)
		var asked struct {
			A       []byte `json:"a"`
			Account string `json:"accountName"`
		}
		_ = json.Unmarshal(sent, &asked)
		c.srp.account, c.srp.client = asked.Account, new(big.Int).SetBytes(asked.A)
		return say(200, simtest.JSON{"iteration": 2, "salt": base64.StdEncoding.EncodeToString(c.srp.salt),
			"protocol": "s2k", "b": base64.StdEncoding.EncodeToString(srp.Pad(c.srp.public)), "c": "c"})
	case "accountLogin":
		if wanted := `"dsWebAuthToken":"` + c.token() + `"`; !bytes.Contains(sent, []byte(wanted)) {
			return say(421, simtest.JSON{})
		}
		c.alive = true
		c.logins++
		answer.header.Add("Set-Cookie", "WEB=alive")
		return account()
	case "validate":
		if !c.alive {
			return say(421, simtest.JSON{})
		}
		return account()
	case "requestPCS":
		if !c.alive {
			return say(421, simtest.JSON{})
		}
		c.pcs = true
		answer.header.Add("Set-Cookie", session.PCSCookie+"=fresh")
		return say(200, simtest.JSON{"status": "success", "message": "ok"})
	case "storageUsageInfo":
		return say(200, simtest.JSON{"storageUsageInfo": simtest.JSON{"usedStorageInBytes": 10, "totalStorageInBytes": 100}})
	}
	return nil
}

// token is the session token that brings a session.
func (c *fakeCloud) token() string {
	if c.noToken {
		return fmt.Sprint("proof", c.proofs)
	}
	return "proof"
}

func newFakeSRP(password string) *fakeSRP {
	s := &fakeSRP{salt: []byte("salt"), secret: big.NewInt(123456789)}
	key, _ := srp.DeriveKey(password, s.salt, 2, "s2k")
	x := srp.HashNumber(s.salt, srp.Hash([]byte(":"), key))
	s.verifier = new(big.Int).Exp(srp.Generator, x, srp.Prime)
	s.public = new(big.Int).Mul(srp.HashNumber(srp.Prime.Bytes(), srp.Pad(srp.Generator)), s.verifier)
	s.public.Add(s.public, new(big.Int).Exp(srp.Generator, s.secret, srp.Prime))
	s.public.Mod(s.public, srp.Prime)
	return s
}

func (c *fakeCloud) answerProof(kind string, sent []byte, answer *fakeAnswer, say func(int, any) *fakeAnswer) *fakeAnswer {
	if kind == "federate" || c.srp == nil {
		return say(200, simtest.JSON{})
	}
	refuse := func(status int, code string) *fakeAnswer {
		return say(status, simtest.JSON{"serviceErrors": []simtest.JSON{{"code": code, "message": "refused"}}})
	}
	var proof struct {
		M1 []byte `json:"m1"`
	}
	_ = json.Unmarshal(sent, &proof)
	c.proofs++
	if c.locks > 0 && c.wrong >= c.locks {
		return refuse(403, apierr.CodeLocked)
	}
	if !c.srp.accepts(proof.M1) {
		c.wrong++
		return refuse(401, apierr.CodeWrongPassword)
	}
	c.wrong = 0
	answer.header.Set("X-Apple-Session-Token", c.token())
	answer.header.Set("X-Apple-ID-Account-Country", "USA")
	return say(200, simtest.JSON{"authType": "hsa2"})
}
