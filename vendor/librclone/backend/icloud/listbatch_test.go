package icloud

import (
	"fmt"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/service"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A folder that the service cannot list, or a list that it refuses as a whole, does not
// fail the other folders.
func TestFailedListsAreSplit(t *testing.T) {
	for _, status := range []int{500, 502, 400, 404, 403} {
		for _, several := range []bool{true, false} {
			t.Run(fmt.Sprint(status, several), func(t *testing.T) {
				c := newFakeCloud()
				c.limit = 5000
				var dirs []string
				for i := range 12 {
					c.add(c.add("root", fmt.Sprint("folder", i), nil).id, "file", []byte("content"))
					dirs = append(dirs, fmt.Sprint("folder", i))
				}
				bad := c.at("folder3").driveID()
				c.spoil = func(_ int, kind string, response *fakeResponse) {
					asked := strings.Count(string(response.body), `"numberOfItems"`)
					if several && asked > 1 || !several && strings.Contains(string(response.body), `"parentId":"`+bad+`"`) {
						*response = *refusing(status, "")()
					}
				}
				f := c.drive("")
				listed, errs := f.ListFolders(background, dirs)
				for i := range dirs {
					if errs[i] == nil {
						assert.Len(t, listed[i], 1)
						assert.True(t, several || i != 3)
					} else {
						assert.True(t, !several && i == 3, "%s: %v", dirs[i], errs[i])
					}
				}
			})
		}
	}
}

// If the service fails every listing, the retries are not made for each folder of a
// list.
func TestFailedListsAreNotRetriedForEachFolder(t *testing.T) {
	c := newFakeCloud()
	for i := range 20 {
		c.add("root", fmt.Sprint("folder", i), nil)
	}
	f := c.drive("")
	entries, err := f.List(background, "")
	require.NoError(t, err)
	c.instead = func(int, string) *fakeResponse { return refusing(500, "")() }
	before := c.requests
	_, errs := f.ListFolders(background, names(entries))
	for _, err := range errs {
		assert.Equal(t, apierr.KindNetwork, apierr.KindOf(err), "%v", err)
	}
	assert.LessOrEqual(t, c.requests-before, service.TrustedTries+3*f.drive.Service.Retries.Tries)
}
