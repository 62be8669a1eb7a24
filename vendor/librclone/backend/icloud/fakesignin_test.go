package icloud

import (
	"bytes"
	"crypto/sha256"
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

// The group of SRP, and the hashes of its values.
var (
	srpPrime, _ = new(big.Int).SetString(""+
		"AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050"+
		"A37329CBB4A099ED8193E0757767A13DD52312AB4B03310DCD7F48A9DA04FD50"+
		"E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B8"+
		"55F97993EC975EEAA80D740ADBF4FF747359D041D5C33EA71D281E446B14773B"+
		"CA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748"+
		"544523B524B0D57D5EA77A2775D2ECFA032CFBDBF52FB3786160279004E57AE6"+
		"AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB6"+
		"94B5C803D89F7AE435DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73", 16)
	srpGenerator = big.NewInt(2)
)

func srpPad(n *big.Int) []byte { return n.FillBytes(make([]byte, 256)) }

func srpHash(parts ...[]byte) []byte {
	hash := sha256.Sum256(bytes.Join(parts, nil))
	return hash[:]
}

func srpNumber(parts ...[]byte) *big.Int { return new(big.Int).SetBytes(srpHash(parts...)) }

// fakeSRP is the server's side of a sign-in.
type fakeSRP struct {
	salt     []byte
	verifier *big.Int
	secret   *big.Int
	public   *big.Int
	account  string
	client   *big.Int // A
}

// accepts reports whether a proof is correct.
func (s *fakeSRP) accepts(m1 []byte) bool {
	scramble := srpNumber(srpPad(s.client), srpPad(s.public))
	base := new(big.Int).Exp(s.verifier, scramble, srpPrime)
	base.Mul(base, s.client)
	session := srpHash(srpPad(base.Exp(base, s.secret, srpPrime)))
	mixed := srpHash(srpPad(srpGenerator))
	for i, b := range srpHash(srpPrime.Bytes()) {
		mixed[i] ^= b
	}
	return bytes.Equal(m1, srpHash(mixed, srpHash([]byte(s.account)), s.salt, srpPad(s.client), srpPad(s.public), session))
}

func (c *fakeCloud) answerAccount(kind string, req *http.Request, sent []byte, response *fakeResponse, say func(int, any) *fakeResponse) *fakeResponse {
	account := func() *fakeResponse {
		service := func(name string) simtest.JSON {
			return simtest.JSON{"url": "https://p1-" + name + ".icloud.com:443", "pcsRequired": c.needsPCS}
		}
		return say(200, simtest.JSON{"dsInfo": simtest.JSON{"hsaVersion": 2}, "hsaChallengeRequired": false,
			"webservices": simtest.JSON{"drivews": service("drivews"), "docws": service("docws")}})
	}
	switch kind {
	case "signin":
		response.header.Set("scnt", "scnt")
		return response
	case "federate", "complete":
		return c.answerProof(kind, sent, response, say)
	case "init":
		c.srp = newFakeSRP(c.password)
		var asked struct {
			A       []byte `json:"a"`
			Account string `json:"accountName"`
		}
		_ = json.Unmarshal(sent, &asked)
		c.srp.account, c.srp.client = asked.Account, new(big.Int).SetBytes(asked.A)
		return say(200, simtest.JSON{"iteration": 2, "salt": base64.StdEncoding.EncodeToString(c.srp.salt),
			"protocol": "s2k", "b": base64.StdEncoding.EncodeToString(srpPad(c.srp.public)), "c": "c"})
	case "accountLogin":
		if wanted := `"dsWebAuthToken":"` + c.token() + `"`; !bytes.Contains(sent, []byte(wanted)) {
			return say(421, simtest.JSON{})
		}
		c.alive = true
		c.logins++
		response.header.Add("Set-Cookie", "WEB=alive")
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
		response.header.Add("Set-Cookie", session.PCSCookie+"=fresh")
		return say(200, simtest.JSON{"status": "success", "message": "ok"})
	case "storageUsageInfo":
		return say(200, simtest.JSON{"storageUsageInfo": simtest.JSON{"usedStorageInBytes": 10, "totalStorageInBytes": 100}})
	}
	return nil
}

// token returns the session token that is valid.
func (c *fakeCloud) token() string {
	if c.noToken {
		return fmt.Sprint("proof", c.proofs)
	}
	return "proof"
}

func newFakeSRP(password string) *fakeSRP {
	s := &fakeSRP{salt: []byte("salt"), secret: big.NewInt(123456789)}
	key, _ := srp.DeriveKey(password, s.salt, 2, "s2k")
	x := srpNumber(s.salt, srpHash([]byte(":"), key))
	s.verifier = new(big.Int).Exp(srpGenerator, x, srpPrime)
	s.public = new(big.Int).Mul(srpNumber(srpPrime.Bytes(), srpPad(srpGenerator)), s.verifier)
	s.public.Add(s.public, new(big.Int).Exp(srpGenerator, s.secret, srpPrime))
	s.public.Mod(s.public, srpPrime)
	return s
}

func (c *fakeCloud) answerProof(kind string, sent []byte, response *fakeResponse, say func(int, any) *fakeResponse) *fakeResponse {
	if kind == "federate" || c.srp == nil {
		return say(200, simtest.JSON{})
	}
	refuse := func(status int, code string) *fakeResponse {
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
	response.header.Set("X-Apple-Session-Token", c.token())
	response.header.Set("X-Apple-ID-Account-Country", "USA")
	return say(200, simtest.JSON{"authType": "hsa2"})
}
