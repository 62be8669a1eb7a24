package icloudphotos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/hosts"
	"plakar-icloud/librclone/backend/icloud/service"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/transport"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	denied  = `403 {"serverErrorCode":"ACCESS_DENIED","reason":"private db access disabled for this account"}`
	oneZone = `200 {"zones":[{"zoneID":{"zoneName":"PrimarySync"}}]}`
	onePage = `200 {"zones":[],"moreComing":true,"syncToken":"%d"}`
	granted = `200 {"status":"success"}`
)

// script is an http.RoundTripper with the responses to requests, which are named
// by the end of their path, and in the database by its area. The last response to
// a request is repeated. A response is a status and a body.
type script struct {
	responses map[string][]string
	requests  map[string]int
}

// RoundTrip implements http.RoundTripper.
func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	name := path.Base(req.URL.Path)
	if name == "database" {
		name = path.Base(path.Dir(path.Dir(req.URL.Path)))
	}
	responses := s.responses[name]
	if len(responses) == 0 {
		return nil, fmt.Errorf("an unexpected request: %s", name)
	}
	response := responses[min(s.requests[name], len(responses)-1)]
	s.requests[name]++
	status, body := 0, ""
	if _, err := fmt.Sscan(response, &status); err != nil {
		return nil, err
	}
	if body = response[3:]; strings.Contains(body, "%d") {
		body = fmt.Sprintf(body, s.requests[name])
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// scripted returns a database whose service sends the given responses, and says
// that access needs the approval of a device.
func scripted(t *testing.T, responses map[string][]string) (*database, *script) {
	t.Helper()
	responses["requestWebAccessState"] = []string{`200 {"isICDRSDisabled":true}`}
	script := &script{responses, map[string]int{}}
	return databaseOf(t, script), script
}

// databaseOf returns a database whose service is a transport.
func databaseOf(t *testing.T, cloud http.RoundTripper) *database {
	t.Helper()
	account := session.New("test", "", 0, nil)
	require.NoError(t, account.Configure(session.File{
		AppleID: "user@example.com", Cookies: []session.Cookie{{Name: "WEB", Value: "1"}},
		Endpoints: map[string]string{hosts.Photos: "https://photos.icloud.com"},
	}, "", ""))
	client := &transport.Client{
		HTTP:    transport.NewRESTClient(&http.Client{Transport: cloud}),
		Limiter: transport.NewLimiter(0, 4), Retries: transport.Retries{Tries: 2},
	}
	return newDatabase(service.New(client, account), "")
}

// A failure of the request for the cookies is reported as it is, and they are
// requested again later. A refusal is final.
func TestOnlyARefusalOfTheCookiesIsRemembered(t *testing.T) {
	for _, response := range []string{"502 ", "429 ", "200 <html>"} {
		s, script := scripted(t, map[string][]string{privateArea: {denied, denied, oneZone}, "requestPCS": {response}})
		_, err := zones(context.Background(), s, privateArea)
		assert.Contains(t, []string{apierr.KindNetwork, apierr.KindThrottled, apierr.KindDamaged}, apierr.KindOf(err), "%s: %v", response, err)
		script.responses["requestPCS"] = []string{granted}
		s.service.Limiter = transport.NewLimiter(0, 4) // without a break
		found, err := zones(context.Background(), s, privateArea)
		require.NoError(t, err, response)
		assert.Len(t, found, 1)
	}
	s, script := scripted(t, map[string][]string{privateArea: {denied}, "requestPCS": {`200 {"status":"pending"}`}})
	var requested map[string]int
	for try := range 2 {
		_, err := zones(context.Background(), s, privateArea)
		assert.Equal(t, notApproved().Error(), fmt.Sprint(err))
		if try == 0 {
			requested = maps.Clone(script.requests)
		}
	}
	assert.Equal(t, requested, script.requests)
}

// ACCESS_DENIED is also the response to too many requests. With new cookies, it
// means that, but 423 does not.
func TestRefusalWithNewCookies(t *testing.T) {
	s, _ := scripted(t, map[string][]string{privateArea: {denied}, "requestPCS": {granted}})
	_, err := zones(context.Background(), s, privateArea)
	assert.ErrorContains(t, err, "wait for some hours")
	assert.Equal(t, apierr.KindDenied, apierr.KindOf(err))
	s, _ = scripted(t, map[string][]string{privateArea: {"423 "}, "requestPCS": {granted}})
	_, err = zones(context.Background(), s, privateArea)
	assert.Equal(t, notApproved().Error(), fmt.Sprint(err))
}

// A list of zones that does not end in the way of the service is not complete.
func TestZonesEndEarly(t *testing.T) {
	for _, pages := range [][]string{
		{`200 {"zones":[],"moreComing":true}`},
		{`200 {"zones":[],"moreComing":true,"syncToken":"same"}`},
		{onePage},
	} {
		s, script := scripted(t, map[string][]string{privateArea: pages})
		_, err := zones(context.Background(), s, privateArea)
		assert.ErrorContains(t, err, "the list of the photo libraries ends early")
		assert.LessOrEqual(t, script.requests[privateArea], maxZonePages)
	}
	s, _ := scripted(t, map[string][]string{privateArea: {onePage, onePage, oneZone}})
	found, err := zones(context.Background(), s, privateArea)
	require.NoError(t, err)
	assert.Len(t, found, 1)
}

// The area of other accounts may not exist, and any other failure there is reported.
// So is a library in the index that the service does not list.
func TestFailuresOfTheSharedArea(t *testing.T) {
	for response, told := range map[string]bool{
		`200 {"zones":[]}`: false,
		`404 {"serverErrorCode":"ZONE_NOT_FOUND","reason":"Zone does not exist"}`: false,
		`200 {"serverErrorCode":"NOT_FOUND"}`:                                     false,
		`400 {"serverErrorCode":"BAD_REQUEST","reason":"Invalid"}`:                true,
		"502 ": true,
	} {
		s, _ := scripted(t, map[string][]string{privateArea: {oneZone}, sharedArea: {response}})
		found, sharedErr, err := findZones(context.Background(), s)
		require.NoError(t, err, response)
		assert.Len(t, found, 1)
		assert.Equal(t, told, sharedErr != nil, "%s: %v", response, sharedErr)
	}
	for _, area := range []string{privateArea, sharedArea} {
		for _, response := range []string{
			`404 {"serverErrorCode":"ZONE_NOT_FOUND"}`, `200 {"zones":[]}`, `200 {"zones":[{"zoneID":{"zoneName":"SharedSync-1"},"deleted":true}]}`,
		} {
			s, _ := scripted(t, map[string][]string{privateArea: {oneZone}, sharedArea: {response}})
			s.index = filepath.Join(t.TempDir(), "index")
			other := newLibrary(zoneID{Area: area, Name: "SharedSync-1"})
			require.NoError(t, writeIndex(s.index, indexHead{}, map[string]*library{other.Name: other}))
			_, sharedErr, err := findZones(context.Background(), s)
			require.NoError(t, err)
			assert.Equal(t, apierr.KindDamaged, apierr.KindOf(sharedErr), response)
			assert.ErrorContains(t, sharedErr, "no longer lists a shared library")
		}
	}
}

// A zone may be on two pages of the list.
func TestRepeatedZonesAreOneLibrary(t *testing.T) {
	again := `200 {"zones":[{"zoneID":{"zoneName":"PrimarySync"}}],"moreComing":true,"syncToken":"%d"}`
	s, _ := scripted(t, map[string][]string{privateArea: {again, oneZone}, sharedArea: {`200 {"zones":[]}`}})
	found, _, err := findZones(context.Background(), s)
	require.NoError(t, err)
	assert.Len(t, found, 1)
}

// The service lists a zone in both areas if it is the same library. A zone of
// another owner is another library.
func TestZonesOfTheSameName(t *testing.T) {
	zone := func(name, owner string) string {
		return `{"zoneID":{"zoneName":"` + name + `","ownerRecordName":"` + owner + `"}}`
	}
	for owner, names := range map[string][]string{
		"_me":    {"Library", "Shared Library"},
		"":       {"Library", "Shared Library"},
		"_other": {"Library", "Shared Library", "Shared Library (1234)"},
	} {
		s, _ := scripted(t, map[string][]string{
			privateArea: {`200 {"zones":[` + zone(primaryZone, "_me") + "," + zone("SharedSync-1234", "_me") + `]}`},
			sharedArea:  {`200 {"zones":[` + zone("SharedSync-1234", owner) + "," + zone(primaryZone, owner) + `]}`},
		})
		found, sharedErr, err := findZones(context.Background(), s)
		require.NoError(t, errors.Join(sharedErr, err))
		assert.ElementsMatch(t, names, slices.Collect(maps.Values(libraryNames(found))), owner)
		named := libraryNames(found)
		slices.Reverse(found)
		assert.Equal(t, named, libraryNames(found), "the order of the zones")
	}
}
