package drive

// assume records the folders on the path to a new folder, which another process
// has just created. Look-ups find them without a listing of their parents. If a
// folder has moved, its own listing shows it; see place.moved.
func (f *folders) assume(made trail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	parent := rootID
	for i, name := range made.Names {
		child := &Item{
			ID: made.IDs[i], Parent: parent, Name: name, Shown: name, Folder: true, Size: -1, Files: -1, Children: -1,
		}
		f.assumed = append(f.assumed, child)
		parent = child.ID
	}
}

// findAssumed looks up a child folder among those of assume. mu must be held.
func (f *folders) findAssumed(id, name string) (got found, known bool) {
	for _, child := range f.assumed {
		if child.Parent == id && nameKey(child.Name) == nameKey(name) {
			return found{exact: child, like: child, listed: f.now()}, true
		}
	}
	return found{}, false
}
