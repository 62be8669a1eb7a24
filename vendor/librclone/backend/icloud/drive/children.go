package drive

import (
	"slices"
	"strings"
)

// children is the contents of a folder, by the names under which they are shown.
type children struct {
	byName  map[string]*Item    // by nameKey of the shown name
	folded  map[string]string   // key in byName, by foldKey, if the two differ
	coarse  map[string]string   // key in byName, by coarseKey, of names that are not ASCII
	keys    map[string]string   // key in byName, by id
	uploads map[string]struct{} // ids of the children whose names are those of leftovers
}

// arrange returns the contents of a folder for a listing. The order of the listing
// does not affect the result.
func arrange(listed []*Item) *children {
	c := &children{
		byName: make(map[string]*Item, len(listed)), keys: make(map[string]string, len(listed)),
		folded: map[string]string{}, coarse: map[string]string{}, uploads: map[string]struct{}{},
	}
	var leftovers, doubles []*Item
	place := func(child *Item) {
		if double := c.place(child); double != nil {
			doubles = append(doubles, double)
		}
	}
	for _, child := range listed {
		if isLeftover(child.Name) {
			leftovers = append(leftovers, child)
			continue
		}
		place(child)
	}
	for _, child := range leftovers {
		place(child)
	}
	slices.SortFunc(doubles, func(a, b *Item) int { return strings.Compare(a.ID, b.ID) })
	for _, double := range doubles {
		c.setApart(double)
	}
	for _, child := range leftovers {
		c.showReplacement(child)
	}
	return c
}

// set stores a child under a key of byName, instead of any other child.
func (c *children) set(key string, child *Item) {
	c.unindex(key)
	c.byName[key] = child
	c.keys[child.ID] = key
	if !isASCII(child.Name) {
		c.coarse[coarseKey(child.Name)] = key
	}
	if isLeftover(child.Name) {
		c.uploads[child.ID] = struct{}{}
	}
	if folded := foldKey(child.Shown); folded != key {
		c.folded[folded] = key
	}
}

// remove removes the child under a key of byName.
func (c *children) remove(key string) {
	if child := c.byName[key]; child != nil {
		if folded := foldKey(child.Shown); c.folded[folded] == key {
			delete(c.folded, folded)
		}
	}
	c.unindex(key)
	delete(c.byName, key)
}

// unindex removes the child under a key from keys, uploads and coarse.
func (c *children) unindex(key string) {
	if child := c.byName[key]; child != nil && c.keys[child.ID] == key {
		delete(c.keys, child.ID)
		delete(c.uploads, child.ID)
		if !isASCII(child.Name) && c.coarse[coarseKey(child.Name)] == key {
			delete(c.coarse, coarseKey(child.Name))
		}
	}
}

// findCoarsely returns a child whose name has the same coarseKey, or nil.
func (c *children) findCoarsely(name string) *Item {
	wanted := coarseKey(name)
	if key, ok := c.coarse[wanted]; ok {
		return c.byName[key]
	}
	_, like := c.find(wanted)
	return like
}

// withID returns a child by its id, or nil.
func (c *children) withID(id string) *Item {
	if key, ok := c.keys[id]; ok {
		return c.byName[key]
	}
	return nil
}

// find returns the child with a name, or nil, and a child whose name differs at
// most in case, or nil.
func (c *children) find(name string) (exact, like *Item) {
	if exact = c.byName[nameKey(name)]; exact != nil {
		return exact, exact
	}
	folded := foldKey(name)
	if like = c.byName[folded]; like != nil {
		return nil, like
	}
	if key, ok := c.folded[folded]; ok {
		return nil, c.byName[key]
	}
	return nil, nil
}

// place adds a child under its name. If another child has the name, that with the
// smaller id gets the name and the other one is returned.
func (c *children) place(child *Item) (double *Item) {
	key := nameKey(child.Shown)
	other, taken := c.byName[key]
	if !taken || other.ID == child.ID {
		c.set(key, child)
		return nil
	}
	if child.ID < other.ID {
		c.set(key, child)
		return other
	}
	return child
}

// shortID is how many characters of an id are used to distinguish two items with
// the same name, if they suffice.
const shortID = 8

// setApart adds a child under its name and as much of its id as makes the name
// unique.
func (c *children) setApart(child *Item) {
	renamed := *child // a copy, because others may use the child
	stem, extension := splitName(child.Name)
	if extension != "" {
		extension = "." + extension
	}
	id := strings.ToLower(child.docID())
	for length := min(shortID, len(id)); ; length++ {
		part := id[:min(length, len(id))]
		if length > len(id) { // another id differs only in case or in the zone
			part = child.ID
		}
		renamed.Shown = stem + " (" + part + ")" + extension
		key := nameKey(renamed.Shown)
		if other, taken := c.byName[key]; !taken || other.ID == child.ID || length > len(id) {
			c.set(key, &renamed)
			return
		}
	}
}

// showReplacement shows a leftover under the name of the file that it was to replace, if
// that file is gone. A process was then killed between the last two steps of a
// replacement. Of several leftovers, the newest is shown.
func (c *children) showReplacement(child *Item) {
	made, _ := parseLeftover(child.Name)
	if made.hash != "" {
		return // the full name of the file is not known, so the leftover keeps its name
	}
	key := nameKey(made.name)
	if holder, taken := c.byName[key]; taken {
		held, ok := parseLeftover(holder.Name)
		if !ok || held.made.After(made.made) {
			return
		}
		older := *holder
		older.Shown = older.Name
		c.set(nameKey(older.Shown), &older)
	}
	c.remove(nameKey(child.Shown))
	stand := *child
	stand.Shown = made.name
	c.set(key, &stand)
}

// hides reports whether a child is a leftover that listings omit.
func (c *children) hides(child *Item) bool {
	made, ok := parseLeftover(child.Name)
	if !ok || child.Shown != child.Name {
		return false
	}
	if made.hash == "" {
		return true
	}
	for _, other := range c.byName {
		if other != child && made.replaces(other.Name) {
			return true
		}
	}
	return false
}

// visible returns the children that a listing shows, in no particular order.
func (c *children) visible() []*Item {
	shown := make([]*Item, 0, len(c.byName))
	for _, child := range c.byName {
		if !c.hides(child) {
			shown = append(shown, child)
		}
	}
	return shown
}

// apply applies a change made by this process.
func (c *children) apply(made change) {
	gone := made.drop
	if made.put != nil {
		gone = made.put.ID
		key := nameKey(made.put.Shown)
		if same := c.byName[key]; same != nil && same.ID == gone {
			c.set(key, made.put)
			return
		}
	}
	if key, ok := c.keys[gone]; ok {
		c.remove(key)
	}
	if made.put != nil {
		if double := c.place(made.put); double != nil {
			c.setApart(double)
		}
	}
}
