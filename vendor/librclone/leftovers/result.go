package leftovers

// Outcome is what was done about an entry of an ended process.
type Outcome int

const (
	// NotOurs is the outcome for an item of another account.
	NotOurs Outcome = iota
	// Done is the outcome for an item that was removed or has got its name.
	Done
	// Nothing is the outcome for an item that no longer has its temporary name.
	Nothing
	// Kept is the outcome for an item that is left to the user.
	Kept
	// Waiting is the outcome for an item that a later process must settle, because a
	// request of the ended process may still be carried out.
	Waiting
	// Failed is the outcome for an item that could not be settled.
	Failed
)

// Result is the outcome for an entry.
type Result struct {
	Outcome Outcome
	Err     error // of Failed
}

// Failure returns the result for an entry that could not be settled.
func Failure(err error) Result { return Result{Failed, err} }

// IsSettled reports whether no later process has to look at the entry.
func (r Result) IsSettled() bool {
	return r.Outcome == Done || r.Outcome == Nothing || r.Outcome == Kept
}
