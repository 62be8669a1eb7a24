package drive

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"plakar-icloud/librclone/backend/icloud/apierr"

	"github.com/rclone/rclone/lib/encoder"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Names have two forms. Outside (fs.DirEntry.Remote, the paths that callers
// give) they are NFC, with stand-ins for control characters, as rclone wants it.
// Inside they are what the service has, character by character: it answers NFD
// and takes NFC for the same. A name that the service gave is sent back as it
// was. A name that the service refuses is an error, see refusedname.go.
//
// The names that iCloud Drive accepts, as far as known or guessed:
//
//	/ \ control characters, DEL,     rclone has never sent them (its default
//	"." and ".."                     encoding replaces them): tried
//	invalid UTF-8                    cannot be written in JSON: refused
//	NFC and NFD                      one name for the service (known)
//	upper and lower case             one name or two: see foldKey
//	longer than 255 bytes of UTF-8   a limit is guessed from APFS, where Apple's
//	                                 clients keep the same names: tried
//	leading and trailing dots and    guessed to be taken by the web service:
//	spaces, leading and trailing     tried
//	CR LF HT VT
//	: ? * " < > | % # &              taken (known for the web service)
const DefaultEncoding = encoder.Display |
	encoder.EncodeBackSlash |
	encoder.EncodeInvalidUtf8 |
	encoder.EncodeLeftSpace |
	encoder.EncodeRightSpace |
	encoder.EncodeRightPeriod

// longestName is the length of the longest name that this backend creates, in
// bytes of UTF-8.
const longestName = 255

// standIns are the characters that rclone's form of a name replaces. A
// replacement character that is part of the name itself is quoted.
const standIns = encoder.EncodeCtl | encoder.EncodeDel

// unusable maps the names of the service that cannot be part of a path to the
// names under which they are shown.
var unusable = map[string]string{".": "．", "..": "．．"}

// ServiceName converts a part of a caller's path into the service's form.
func ServiceName(name string) string { return norm.NFC.String(standIns.Decode(name)) }

// ShownName converts a name of the service into the caller's form.
func ShownName(name string) string {
	if shown, ok := unusable[name]; ok {
		return shown
	}
	return strings.ReplaceAll(standIns.Encode(norm.NFC.String(name)), "/", "／")
}

// nameKey returns a key that is equal for names that differ only in their
// Unicode form. The service treats such names as equal.
func nameKey(name string) string { return norm.NFC.String(name) }

// foldKey returns a key that is also equal for names that differ in case. It is
// uncertain whether the service treats such names as equal: rclone assumes it,
// but a user has seen two of them in one folder in the web interface. So a name
// is not treated as equal to another one when a file is replaced, deleted or
// looked up by its path, unless the service refuses to have both. When a folder
// is listed, another case is accepted, because people write such paths. Like
// strings.EqualFold, it folds character by character.
func foldKey(name string) string {
	return norm.NFC.String(strings.Map(foldRune, nameKey(name)))
}

// foldRune returns a representative of the characters that differ from r only
// in case. It is r itself for lower-case letters, of which most names consist.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}
	most := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		if next < utf8.RuneSelf {
			return foldRune(next)
		}
		most = max(most, next)
	}
	return most
}

// coarseKey folds as much as Unicode defines ("ß" and "ss"). It serves to find
// an item whose name the service treats as equal, if the other keys find none.
func coarseKey(name string) string {
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(name)))
}

func isASCII(name string) bool {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// checkName refuses what the service cannot store, before anything is sent.
func checkName(op, on, name string) error {
	why := ""
	switch {
	case name == "":
		why = "the name is empty"
	case !utf8.ValidString(name):
		why = "the name is not valid UTF-8"
	case isLeftover(name):
		why = "names of this form are kept for uploads under way"
	default:
		return nil
	}
	return apierr.New(apierr.KindRefusedName, op, on, why).Advise("give it another name")
}

// A replacement is uploaded beside the file that it replaces, as
//
//	NAME.icloud-new-SECONDS-RANDOM
//
// (seconds since 1970 and a random number, both hexadecimal), and takes the
// name over when it is complete and the old file is in the Trash. Where that
// would be too long, NAME is cut and a hash of it is put in front of SECONDS:
//
//	NAM.icloud-new-HASH-SECONDS-RANDOM
//
// What a killed process leaves under such a name is complete. While NAME itself
// is there it is left over: hidden, and trashed later by whoever writes into
// that folder. When NAME is missing, it is NAME's content: shown under NAME, or,
// where NAME was cut and so is not known, under the name that it has.
const leftoverMark = ".icloud-new-"

var leftoverPattern = regexp.MustCompile(`(?s)^(.+)\.icloud-new-(?:([0-9a-f]{16})-)?([0-9a-f]{8,12})-([0-9a-f]{8})$`)

// leftoverAge is the age from which a leftover is assumed to be abandoned. A
// replacement has such a name for two requests only, but clocks differ.
const leftoverAge = time.Hour

// leftover is the information in the name of an unfinished replacement.
type leftover struct {
	name string // of the file it replaces, or the start of it
	hash string // of the name, when it was cut
	made time.Time
}

func isLeftover(name string) bool {
	return strings.Contains(name, leftoverMark) && leftoverPattern.MatchString(name)
}

func parseLeftover(name string) (leftover, bool) {
	if !strings.Contains(name, leftoverMark) {
		return leftover{}, false
	}
	parts := leftoverPattern.FindStringSubmatch(name)
	if parts == nil {
		return leftover{}, false
	}
	seconds, err := strconv.ParseInt(parts[3], 16, 64)
	if err != nil {
		return leftover{}, false
	}
	return leftover{name: parts[1], hash: parts[2], made: time.Unix(seconds, 0)}, true
}

// replaces reports whether the leftover was created to replace a file of that
// name.
func (l leftover) replaces(name string) bool {
	if l.hash != "" {
		return l.hash == nameHash(name)
	}
	return nameKey(l.name) == nameKey(name)
}

// ReplacementName returns the name under which a replacement of name is
// uploaded.
func ReplacementName(name string, now time.Time, random uint32) string {
	suffix := fmt.Sprintf("%08x-%08x", now.Unix(), random)
	if full := name + leftoverMark + suffix; len(full) <= longestName {
		return full
	}
	suffix = leftoverMark + nameHash(name) + "-" + suffix
	cut := longestName - len(suffix)
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return strings.TrimRight(name[:cut], " .") + suffix
}

func nameHash(name string) string {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(nameKey(name)))
	return fmt.Sprintf("%016x", hash.Sum64())
}

// splitName cuts a name before its extension, as the service does.
func splitName(name string) (stem, extension string) {
	at := strings.LastIndexByte(name, '.')
	if at <= 0 || at == len(name)-1 {
		return name, ""
	}
	return name[:at], name[at+1:]
}
