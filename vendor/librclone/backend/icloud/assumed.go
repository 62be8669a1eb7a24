package icloud

import "time"

// assumption is a child folder that is found although its parent is not listed,
// because a process of this account has just created it. The listing of the
// child shows if it is elsewhere; see place.moved.
type assumption struct {
	child *item
	until time.Time
}

// assume records the folders on the path to a new folder, for some time since
// the folder was created.
func (f *folders) assume(made trail, life time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	parent, until := rootID, time.Unix(made.Made, 0).Add(life)
	for i, name := range made.Names {
		child := &item{
			id: made.IDs[i], parent: parent, name: name, shown: name, folder: true, size: -1, files: -1, children: -1,
		}
		f.assumed = append(f.assumed, assumption{child: child, until: until})
		parent = child.id
	}
}

// findAssumed looks up a child folder that is assumed to be in a folder without
// known contents. mu must be held.
func (f *folders) findAssumed(id, name string) (got found, known bool) {
	now := f.now()
	for _, a := range f.assumed {
		if a.child.parent == id && nameKey(a.child.name) == nameKey(name) && now.Before(a.until) {
			return found{exact: a.child, like: a.child, listed: now}, true
		}
	}
	return found{}, false
}
