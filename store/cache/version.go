package cache

import "github.com/tidwall/btree"

// version is a resource as of one revision: the roots of its trees. Once
// published it is never written to; edits go to a copy, which shares every node
// that they do not touch.
type version struct {
	// revision up to which every write to the resource is in.
	revision int64
	entries  *btree.Map[string, *Entry]
	// bytes are the sizes of all entries.
	bytes int64
	// indexes map indexKey(value, key) to the entry, one tree per index.
	indexes []*btree.Map[string, *Entry]
}

// indexKey sorts by value, then by key. No index value holds a NUL byte.
func indexKey(value, key string) string { return value + "\x00" + key }

func newVersion(indexes int) *version {
	v := &version{entries: new(btree.Map[string, *Entry]), indexes: make([]*btree.Map[string, *Entry], indexes)}
	for i := range v.indexes {
		v.indexes[i] = new(btree.Map[string, *Entry])
	}
	return v
}

// edit returns a copy that may be written to. Copying marks the trees of v, so
// two copies of one version are not made at once.
func (v *version) edit() *version {
	c := &version{revision: v.revision, entries: v.entries.Copy(), bytes: v.bytes, indexes: make([]*btree.Map[string, *Entry], len(v.indexes))}
	for i, tree := range v.indexes {
		c.indexes[i] = tree.Copy()
	}
	return c
}

// set puts an entry in place of the one that its key holds.
func (v *version) set(e *Entry) (old *Entry) {
	old, _ = v.entries.Set(e.Key, e)
	v.bytes += int64(e.Size)
	if old != nil {
		v.bytes -= int64(old.Size)
	}
	for i, tree := range v.indexes {
		v.unindex(i, tree, old, e)
		for _, value := range e.values[i] {
			tree.Set(indexKey(value, e.Key), e)
		}
	}
	return old
}

// remove takes a key out.
func (v *version) remove(key string) (old *Entry) {
	old, ok := v.entries.Delete(key)
	if !ok {
		return nil
	}
	v.bytes -= int64(old.Size)
	for i, tree := range v.indexes {
		v.unindex(i, tree, old, nil)
	}
	return old
}

// unindex takes out the values of old that its successor does not have.
func (v *version) unindex(i int, tree *btree.Map[string, *Entry], old, successor *Entry) {
	if old == nil {
		return
	}
	for _, value := range old.values[i] {
		if !successor.has(i, value) {
			tree.Delete(indexKey(value, old.Key))
		}
	}
}

// apply makes an event's change.
func (v *version) apply(ev *Event) {
	if ev.Type == Deleted {
		v.remove(ev.Entry.Key)
	} else {
		v.set(ev.Entry)
	}
}

// undo takes an event's change back.
func (v *version) undo(ev *Event) {
	if ev.Old == nil {
		v.remove(ev.Entry.Key)
	} else {
		v.set(ev.Old)
	}
}
