package icloud

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/internal/simtest"

	"github.com/rclone/rclone/fs/fserrors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Several processes run unattended while the sign-in hosts fail at random. Proofs of a
// wrong password are sent at most twice with one trust token, which does not lock the
// account. With the correct password, a run succeeds after the failures have stopped,
// or reports that the outcome of two sign-ins is unknown.
func TestNoSequenceOfRunsLocksTheAccount(t *testing.T) {
	unclear := 0
	const sequences = 400
	for seed := range uint64(sequences) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			right := random.IntN(2) == 0
			c := newFakeCloud()
			c.locks = session.MaxProofs + 1
			c.noToken = random.IntN(3) > 0
			fail := hostile(random, 5+random.IntN(60), map[string]int{})
			failing := true
			b := newBetween(c, func(kind string, req *http.Request) *fakeResponse {
				if !failing {
					return nil
				}
				return fail(kind, req)
			})
			password := session.Secret("secret")
			if !right {
				password = "wrong"
			}
			path := simtest.NewSessionFile()
			run := func() error {
				b.mu.Lock()
				c.alive = false
				b.mu.Unlock()
				processes := []*Fs{patientProcess(b, password, path), patientProcess(b, password, path)}
				var failed [6]error
				simtest.InParallel(6, 6, func(i int) { _, failed[i] = processes[i%2].List(background, "") })
				for _, err := range failed {
					if err != nil {
						assert.True(t, fserrors.IsFatalError(err), "seed %d: %v", seed, err)
						return err
					}
				}
				return nil
			}
			for range 1 + random.IntN(5) {
				_ = run()
				time.Sleep(time.Duration(random.IntN(7200)) * time.Second) // on the clock of synctest
			}
			failing = false
			time.Sleep(time.Hour + time.Minute)
			err := run()
			said := fmt.Sprintf("seed %d: %v", seed, err)
			switch {
			case !right:
				assert.LessOrEqual(t, b.counts["complete"], session.MaxProofs, said)
			case err != nil:
				unclear++
				require.Equal(t, apierr.KindNeedsLogin, apierr.KindOf(err), said)
				assert.Equal(t, session.MaxProofs, loaded(t, path).Proofs.Sent, said)
				assert.True(t, loaded(t, path).Describe(time.Now()).NeedsLogin, said)
			}
			assert.Less(t, c.wrong, c.locks, said)
		})
	}
	assert.Less(t, unclear, sequences/5, "most runs with the right password succeed")
	t.Logf("%d of %d sequences ended with proofs of unknown outcome", unclear, sequences)
}

// Six processes sign in once, even if one request in twenty fails.
func TestOneSignInUnderFailures(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCloud()
			c.alive = false
			random := rand.New(rand.NewPCG(seed, 2))
			fail := hostile(random, 5, map[string]int{})
			lost := false
			b := newBetween(c, func(kind string, req *http.Request) *fakeResponse {
				response := fail(kind, req)
				lost = lost || response != nil && kind == "accountLogin" && response.carriedOut
				return response
			})
			path := simtest.NewSessionFile()
			var processes []*Fs
			for range 6 {
				processes = append(processes, patientProcess(b, "secret", path))
			}
			simtest.InParallel(24, 24, func(i int) {
				_, err := processes[i%6].List(background, "")
				assert.NoError(t, err, "seed %d", seed)
			})
			if !lost {
				assert.Equal(t, 1, c.logins, "seed %d", seed)
			}
			assert.LessOrEqual(t, b.counts["complete"], 1, "seed %d", seed)
		})
	}
}
