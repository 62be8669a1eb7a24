package icloud

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The words of an answer count for more than its status where they say what is
// wrong.
func TestRefusalsThatSayWhatIsWrong(t *testing.T) {
	for reason, kind := range map[string]string{
		"Missing X-APPLE-WEBAUTH-TOKEN cookie": KindNeedsLogin,
		"OVER_QUOTA":                           KindQuota,
		"something else":                       KindDenied,
	} {
		refused := refusal{status: http.StatusForbidden, reason: reason}
		assert.Equal(t, kind, refused.kind(), reason)
	}
}

// A code in an answer that is no status says nothing, so the call is repeated.
func TestCodesInAnswers(t *testing.T) {
	for code, kind := range map[int]string{1: KindNetwork, 412: KindChanged, 507: KindQuota} {
		assert.Equal(t, kind, KindOf(refusedDocument(code, "error")), code)
	}
}
