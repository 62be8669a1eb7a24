package drive

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/stretchr/testify/assert"
)

// nameKey ignores the Unicode form of a name, foldKey also the case, and coarseKey
// all differences that Unicode folds.
func TestNameKeys(t *testing.T) {
	for _, same := range [][2]string{{"é", norm.NFD.String("é")}, {"Ω", "Ω"}} {
		assert.Equal(t, nameKey(same[0]), nameKey(same[1]), "%q", same)
	}
	for _, like := range [][2]string{{"file", "FILE"}, {"é", norm.NFD.String("É")}, {"ｆｉｌｅ", "ＦＩＬＥ"}, {"σς", "ΣΣ"}, {"K", "k"}} {
		assert.NotEqual(t, nameKey(like[0]), nameKey(like[1]), "%q", like)
		assert.Equal(t, foldKey(like[0]), foldKey(like[1]), "%q", like)
	}
	for _, different := range [][2]string{{"ß", "ss"}, {"i", "ı"}, {"ä", "a"}, {"a", "а"}} {
		assert.NotEqual(t, foldKey(different[0]), foldKey(different[1]), "%q", different)
	}
	assert.Equal(t, coarseKey("straße"), coarseKey("STRASSE"))
	assert.Equal(t, "0123abcd", foldKey("0123abcd"), "lower-case ASCII is its own key")
}

// A name of the service that is shown to a caller and sent back is unchanged.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"plain.txt", "ends with a dot.", " leading space", "tab\tinside", "\x01control\x1f", "delete\x7f", "Icon\r",
		"alone＼.txt", "a／b", "␍ and ‛␍", "back\\slash", "emoji 👨‍👩‍👧‍👦", "日本語", "ñ ü ş", "ﬁ ligature", "a␠b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if raw == "" || !utf8.ValidString(raw) || strings.ContainsAny(raw, "/\x00") || !norm.NFC.IsNormalString(raw) || unusable[raw] != "" {
			return
		}
		shown := ShownName(raw)
		assert.NotContains(t, shown, "/")
		assert.Equal(t, raw, ServiceName(shown), "%q is shown as %q", raw, shown)
		assert.Equal(t, shown, ShownName(norm.NFD.String(raw)))
		sent := raw
		assert.Equal(t, nameKey(sent), nameKey(norm.NFD.String(sent)))
		if made := ReplacementName(sent, time.Unix(1_700_000_000, 0), 7); sent != "" && !isLeftover(sent) {
			parsed, ok := parseLeftover(made)
			assert.True(t, ok && parsed.replaces(sent), "%q", made)
		}
	})
}
