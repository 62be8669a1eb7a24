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

// A name has two forms. ShownName returns the form for callers (in
// fs.DirEntry.Remote and in paths): NFC, with stand-ins for control characters, as
// rclone requires. ServiceName returns the form for the service, in NFC. The
// service itself returns names in NFD and treats the two forms as equal. The
// conversions are inverse, so a name that the service returned is sent back with
// the same characters. A name that the service refuses is an error; see
// refusedname.go.
//
// The names that iCloud Drive accepts, as far as that is known:
//
//	/ \ control characters, DEL,     unknown: rclone never sends them, because
//	"." and ".."                     its default encoding replaces them
//	invalid UTF-8                    impossible in JSON, so refused here
//	NFC and NFD                      treated as equal
//	upper and lower case             unknown: see foldKey
//	longer than 255 bytes of UTF-8   guessed to be refused, as on APFS, where
//	                                 Apple's clients store the same names
//	leading and trailing dots and    guessed to be accepted
//	spaces, leading and trailing
//	CR LF HT VT
//	: ? * " < > | % # &              accepted by the web service
//
// Names are sent even if it is unknown whether the service accepts them.
// DefaultEncoding only serves to find the likely reason of a refusal.
const DefaultEncoding = encoder.Display |
	encoder.EncodeBackSlash |
	encoder.EncodeInvalidUtf8 |
	encoder.EncodeLeftSpace |
	encoder.EncodeRightSpace |
	encoder.EncodeRightPeriod

// maxNameLength is the length of the longest name that this backend creates, in
// bytes of UTF-8.
const maxNameLength = 255

// standIns replaces control characters in rclone's form of a name by stand-ins. A
// stand-in that is part of the name itself is quoted.
const standIns = encoder.EncodeCtl | encoder.EncodeDel

// unusable has the names of the service that cannot be part of a path, and the
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

// foldKey returns a key that is also equal for names that differ in case. Like
// strings.EqualFold, it folds character by character. Whether the service treats
// such names as equal is unknown: rclone assumes it, but a user has seen two of
// them in one folder in the web interface. So the case matters when a file is
// replaced, deleted or looked up by its path, unless the service was seen to
// refuse a second name. It does not matter in the path of a folder to be listed,
// because users write such paths.
func foldKey(name string) string {
	return norm.NFC.String(strings.Map(foldRune, nameKey(name)))
}

// foldRune returns the representative of the characters that differ from r only in
// case. A lower-case letter represents itself if it is ASCII.
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

// coarseKey returns a key that is also equal for names that full Unicode folding
// makes equal, such as "ß" and "ss". If the other keys find no item, it finds the
// one whose name the service may treat as equal.
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

// checkName returns an error for a name that cannot be stored.
func checkName(op, on, name string) error {
	why := ""
	switch {
	case name == "":
		why = "the name is empty"
	case !utf8.ValidString(name):
		why = "the name is not valid UTF-8"
	case isLeftover(name):
		why = "names of this form are reserved for uploads under way"
	default:
		return nil
	}
	return apierr.New(apierr.KindRefusedName, op, on, why).Advise("give it another name")
}

// leftoverMark is a part of the name under which a replacement is uploaded beside
// the file that it replaces:
//
//	NAME.icloud-new-SECONDS-RANDOM
//
// SECONDS is the time since 1970 and RANDOM a random number, both hexadecimal.
// The replacement gets the name when it is complete and the old file is in the
// Trash. If the name would be too long, NAME is cut, and a hash of it is added:
//
//	NAM.icloud-new-HASH-SECONDS-RANDOM
//
// A leftover is a file with such a name that a killed process has not renamed. It
// is complete. While NAME exists, the leftover is hidden, and the next process
// that replaces NAME moves it to the Trash. If NAME does not exist, the
// leftover is the content of NAME, and is shown under NAME or, if NAME was cut,
// under its own name.
const leftoverMark = ".icloud-new-"

var leftoverPattern = regexp.MustCompile(`(?s)^(.+)\.icloud-new-(?:([0-9a-f]{16})-)?([0-9a-f]{8,12})-([0-9a-f]{8})$`)

// leftoverAge is the age from which a leftover is reported as abandoned. A
// replacement has such a name for two requests only, but clocks differ.
const leftoverAge = time.Hour

// leftover is the information in the name of a leftover.
type leftover struct {
	name string // the name of the file that it replaces, or the start of that name
	hash string // the hash of that name if it was cut, or ""
	made time.Time
}

func isLeftover(name string) bool {
	return strings.Contains(name, leftoverMark) && leftoverPattern.MatchString(name)
}

// IsLeftover reports whether the item is a leftover that is
// listed under the name of the file that it replaces.
func (i *Item) IsLeftover() bool { return isLeftover(i.Name) && !isLeftover(i.Shown) }

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

// replaces reports whether the leftover was created to replace a file with a name.
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
	if full := name + leftoverMark + suffix; len(full) <= maxNameLength {
		return full
	}
	suffix = leftoverMark + nameHash(name) + "-" + suffix
	cut := maxNameLength - len(suffix)
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

// splitName splits a name at its extension, as the service does.
func splitName(name string) (stem, extension string) {
	at := strings.LastIndexByte(name, '.')
	if at <= 0 || at == len(name)-1 {
		return name, ""
	}
	return name[:at], name[at+1:]
}
