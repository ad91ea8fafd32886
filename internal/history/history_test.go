package history

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
)

func put(key, value string, cond Condition) Input {
	return Input{Kind: Put, Key: key, Value: value, If: cond}
}

func done(revision int64, kvs ...KV) Output { return Output{Revision: revision, KVs: kvs} }

// script is a history that is judged in one round.
type script struct {
	name   string
	ops    []Operation
	events []Event
	want   string // what is wrong with it; "" for nothing
}

func TestRound(t *testing.T) {
	a2 := KV{"a", "1", 2, 2}
	a3 := KV{"a", "2", 2, 3}
	made := Event{Revision: 2, Key: "a", Value: "1", Created: 2}
	changed := Event{Revision: 3, Key: "a", Value: "2", Created: 2}
	gone := Event{Revision: 4, Key: "a", Deleted: true}
	create := Operation{0, 1, 2, put("a", "1", Absent), done(2)}
	update := Operation{0, 3, 4, put("a", "2", 2), done(3)}
	uncertain := Output{Outcome: Unknown}
	for _, s := range []script{
		{"sequential", []Operation{create, update,
			{1, 5, 6, Input{Kind: Get, Key: "a"}, done(3, a3)},
			{1, 7, 8, Input{Kind: Delete, Key: "a", If: 3}, done(4)},
			{1, 9, 10, Input{Kind: List}, done(4)},
			{1, 11, 12, put("a", "3", 3), Output{Outcome: Conflict, Told: true}},
		}, []Event{made, changed, gone}, ""},
		{"a read of what is being written", []Operation{create,
			{0, 3, 10, put("a", "2", 2), done(3)}, {1, 4, 5, Input{Kind: Get, Key: "a"}, done(3, a3)},
		}, []Event{made, changed}, ""},
		{"a read that goes back", []Operation{create,
			{0, 3, 10, put("a", "2", 2), done(3)},
			{1, 4, 5, Input{Kind: Get, Key: "a"}, done(3, a3)}, {1, 6, 7, Input{Kind: Get, Key: "a"}, done(0, a2)},
		}, []Event{made, changed}, "not linearizable"},
		{"a stale read", []Operation{create, update, {1, 5, 6, Input{Kind: Get, Key: "a"}, done(0, a2)}}, []Event{made, changed}, "not linearizable"},
		{"a stale list", []Operation{create, update, {1, 5, 6, Input{Kind: List}, done(3, a2)}}, []Event{made, changed}, "not linearizable"},
		{"a revision that is too small", []Operation{create, update, {1, 5, 6, Input{Kind: Now}, done(2)}}, []Event{made, changed}, "not linearizable"},
		{"a conflict without reason", []Operation{create, {1, 5, 6, put("a", "9", 2), Output{Outcome: Conflict}}}, []Event{made}, "not linearizable"},
		{"a conflict with something else", []Operation{create, {1, 5, 6, put("a", "9", Absent), Output{Outcome: Conflict, Told: true}}}, []Event{made}, "not linearizable"},
		{"both of two that create", []Operation{create, {1, 1, 2, put("a", "2", Absent), done(3)}}, []Event{made, changed}, "not linearizable"},
		{"a write that is lost", []Operation{create, update}, []Event{made}, "the witness has not seen it"},
		{"a write with another value", []Operation{create}, []Event{{Revision: 2, Key: "a", Value: "x", Created: 2}}, "the witness saw"},
		{"a write that nobody made", []Operation{create}, []Event{made, changed}, "nobody made"},
		{"a put that happens twice", []Operation{create}, []Event{made, {Revision: 3, Key: "a", Value: "1", Created: 2}}, "took effect twice"},
		{"a failed put that happens", []Operation{{0, 1, 2, put("a", "1", Absent), Output{Outcome: Failed}}}, []Event{made}, "it took effect"},
		{"unknown and never seen", []Operation{create, {0, 3, 4, put("a", "2", 2), uncertain}, {1, 5, 6, Input{Kind: Get, Key: "a"}, done(2, a2)}}, []Event{made}, ""},
		{"unknown and happened", []Operation{create, {0, 3, 4, put("a", "2", 2), uncertain}, {1, -1, 0, Input{Kind: Get, Key: "a"}, done(0)}}, []Event{made, changed}, ""},
		{"unknown and happened against its condition", []Operation{create, {0, 3, 4, put("a", "2", Absent), uncertain}}, []Event{made, changed}, "not linearizable"},
		{"a deletion that happened", []Operation{create, update,
			{0, 5, 6, Input{Kind: Delete, Key: "a", If: Any}, uncertain}, {0, 5, 6, Input{Kind: Delete, Key: "a", If: 3}, uncertain},
		}, []Event{made, changed, gone}, ""},
		{"a deletion under another revision", []Operation{create, update, {0, 5, 6, Input{Kind: Delete, Key: "a", If: 2}, uncertain}}, []Event{made, changed, gone}, "nobody made"},
		{"a deletion that was not told its revision", []Operation{create, update,
			{0, 5, 6, Input{Kind: Delete, Key: "a", If: Any}, Output{Identity: "x"}},
		}, []Event{made, changed, {Revision: 4, Key: "a", Deleted: true, Identity: "x"}}, ""},
		{"a deletion of another one", []Operation{create, update,
			{0, 5, 6, Input{Kind: Delete, Key: "a", If: Any}, Output{Identity: "y"}},
		}, []Event{made, changed, {Revision: 4, Key: "a", Deleted: true, Identity: "x"}}, "the witness has not seen it"},
	} {
		t.Run(s.name, func(t *testing.T) {
			c := NewChecker(&State{Revision: 1})
			c.Dir = t.TempDir()
			c.Log.time = func() int64 { return 20 }
			c.ops = s.ops
			if err := c.Append(s.events, 10); err != nil {
				t.Fatal(err)
			}
			err := c.Round(10)
			if s.want == "" && err != nil || s.want != "" && (err == nil || !strings.Contains(err.Error(), s.want)) {
				t.Fatalf("%v, want %q", err, s.want)
			}
			if s.want == "not linearizable" {
				drawn(t, err)
			}
		})
	}
}

// drawn checks that the error names a drawing.
func drawn(t *testing.T, err error) {
	t.Helper()
	file := regexp.MustCompile(`drawn in (\S+)`).FindStringSubmatch(err.Error())
	if file == nil {
		t.Fatalf("no file in %v", err)
	}
	html, err := os.ReadFile(file[1])
	if err != nil || !strings.Contains(string(html), "put a=1 if absent") {
		t.Errorf("%s, %v", html, err)
	}
}

// An operation of unknown outcome may take effect rounds later.
func TestRoundsCarryOver(t *testing.T) {
	c := NewChecker(&State{Revision: 1})
	c.ops = []Operation{{0, 1, 2, put("a", "1", Absent), Output{Outcome: Unknown}}, {1, 3, 4, Input{Kind: List}, done(1)}}
	if err := c.Round(1); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Happened != 0 || s.Vanished != 1 {
		t.Errorf("%v", s)
	}
	if err := c.Append([]Event{{Revision: 5, Key: "a", Value: "1", Created: 5}}, 5); err != nil {
		t.Fatal(err)
	}
	c.ops = []Operation{{1, 5, 6, Input{Kind: List}, done(5, KV{"a", "1", 5, 5})}}
	if err := c.Round(5); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Happened != 1 || s.Vanished != 0 || s.Operations != 3 || s.Writes != 1 {
		t.Errorf("%v", s)
	}
	// What was is the start of the next round.
	c.ops = []Operation{{1, 7, 8, Input{Kind: Get, Key: "a"}, done(5)}}
	if err := c.Round(5); err == nil {
		t.Error("a key was forgotten between rounds")
	}
}

func TestWitness(t *testing.T) {
	for name, batches := range map[string][][]Event{
		"doubled":                  {{{Revision: 2, Key: "a", Value: "1"}}, {{Revision: 2, Key: "a", Value: "1"}}},
		"reordered":                {{{Revision: 3, Key: "a", Value: "1"}, {Revision: 2, Key: "a", Value: "2"}}},
		"beyond the batch":         {{{Revision: 99, Key: "a", Value: "1"}}},
		"deleted what was not":     {{{Revision: 2, Key: "a", Deleted: true}}},
		"made at another revision": {{{Revision: 2, Key: "a", Value: "1", Created: 2}, {Revision: 3, Key: "a", Value: "2", Created: 3}}},
	} {
		l := NewLog(&State{Revision: 1}, func() int64 { return 0 })
		var err error
		for i, events := range batches {
			err = errors.Join(err, l.Append(events, int64(10+i)))
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBetweenAndAt(t *testing.T) {
	l := NewLog(&State{Revision: 1, Keys: map[string]KV{"c": {"c", "0", 1, 1}}}, func() int64 { return 0 })
	a, b, gone := Event{Revision: 2, Key: "a", Value: "1", Created: 2}, Event{Revision: 4, Key: "b", Value: "2", Created: 4}, Event{Revision: 5, Key: "a", Deleted: true}
	if err := l.Append([]Event{a, b, gone}, 6); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prefix      string
		after, upTo int64
		sent        []Event
		ok          bool
	}{
		{"", 1, 6, []Event{a, b, gone}, true},
		{"", 2, 4, []Event{b}, true},
		{"b", 1, 6, []Event{b}, true},
		{"", 5, 6, nil, true},
		{"", 1, 6, []Event{a, gone}, false},
		{"", 1, 4, []Event{a, b, gone}, false},
		{"", 1, 6, []Event{b, a, gone}, false},
		{"", 1, 6, []Event{a, a, b, gone}, false},
		{"", 2, 4, []Event{{Revision: 4, Key: "b", Value: "x", Created: 4}}, false},
	} {
		if err := l.Between(c.prefix, c.after, c.upTo, c.sent); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	kvA, kvB, kvC := KV{"a", "1", 2, 2}, KV{"b", "2", 4, 4}, KV{"c", "0", 1, 1}
	for _, c := range []struct {
		prefix   string
		revision int64
		read     []KV
		ok       bool
	}{
		{"", 1, []KV{kvC}, true},
		{"", 3, []KV{kvA, kvC}, true},
		{"", 4, []KV{kvA, kvB, kvC}, true},
		{"", 6, []KV{kvB, kvC}, true},
		{"a", 3, []KV{kvA}, true},
		{"", 4, []KV{kvA, kvC}, false},
		{"", 6, []KV{kvA, kvB, kvC}, false},
		{"", 6, []KV{kvB, kvB, kvC}, false},
	} {
		if err := l.At(c.prefix, c.revision, c.read); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
