package signin

import (
	"encoding/json"
	"testing"

	"plakar-icloud/librclone/backend/icloud/session"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Advanced Data Protection is on if iCDPEnabled is set. That services require
// cookies for protected data does not mean that it is on.
func TestProtectionOfAnAccount(t *testing.T) {
	for body, protected := range map[string]bool{
		`{"webservices":{"drivews":{"pcsRequired":true}}}`:     false,
		`{"iCDPEnabled":true}`:                                 true,
		`{"dsInfo":{"iCDPEnabled":true}}`:                      true,
		`{"iCDPEnabled":false,"dsInfo":{"iCDPEnabled":false}}`: false,
	} {
		account := new(Account)
		require.NoError(t, json.Unmarshal([]byte(body), account))
		assert.Equal(t, protected, account.Protected(), body)
	}
	account := new(Account)
	require.NoError(t, json.Unmarshal([]byte(`{"webservices":{"drivews":{"pcsRequired":true}}}`), account))
	assert.True(t, account.WantsPCS(nil))
	assert.False(t, account.WantsPCS([]session.Cookie{{Name: session.PCSCookie, Value: "there"}}))
}
