package drive

import (
	"encoding/json"
	"testing"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A registration always has the size of the file, and for an empty file no
// receipt.
func TestRegistrationHasTheSize(t *testing.T) {
	for content, wanted := range map[string]string{
		"":        `"data":{"reference_signature":"r","signature":"s","size":0,"wrapping_key":"k"}`,
		"content": `"data":{"receipt":"t","reference_signature":"r","signature":"s","size":7,"wrapping_key":"k"}`,
	} {
		doc := &document{docID: "D", modified: time.Unix(5, 9)}
		doc.file.Size, doc.file.Signature, doc.file.ReferenceSignature, doc.file.WrappingKey = int64(len(content)), "s", "r", "k"
		if content != "" {
			doc.file.Receipt = "t"
		}
		bytes, err := json.Marshal(registration(driveRoot, "name", doc))
		require.NoError(t, err)
		encoded := string(bytes)
		assert.Contains(t, encoded, wanted)
		assert.Contains(t, encoded, `"allow_conflict":false`)
		assert.Contains(t, encoded, `"mtime":5000`)
	}
}

// A registration never has the time 0, which the service may take for no time.
func TestFilesOf1970KeepTheirTime(t *testing.T) {
	for modified, sent := range map[time.Time]int64{
		time.Unix(0, 0): 1, time.Unix(0, 999_999_999): 1, time.Unix(1, 0): 1000, time.Unix(-1, 0): -1000,
	} {
		request := registration(driveRoot, "name", &document{docID: "D", modified: modified})
		assert.Equal(t, sent, request.Mtime, modified)
		assert.Equal(t, sent, request.Btime, modified)
	}
}

// A code that is an HTTP status has the meaning of the status. After any other
// code, the call is repeated, unless the message names the reason.
func TestCodesInResponses(t *testing.T) {
	for code, kind := range map[int]string{1: apierr.KindNetwork, 412: apierr.KindChanged, 507: apierr.KindQuota} {
		assert.Equal(t, kind, apierr.KindOf(codeError(code, "error")), code)
	}
	assert.Equal(t, apierr.KindQuota, apierr.KindOf(codeError(17, "Quota exceeded")))
	assert.Equal(t, apierr.KindExists, apierr.KindOf(codeError(3, "Uniqueness constraint violation")))
}
