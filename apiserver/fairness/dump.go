package fairness

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// DumpPath is where upstream's debug endpoints are that [Controller.ServeDump] serves.
const DumpPath = "/debug/api_priority_and_fairness/"

// ServeDump answers requests for dump_priority_levels, dump_queues and dump_requests
// (with ?includeRequestDetails=1 for more) in upstream's tables.
func (c *Controller) ServeDump(w http.ResponseWriter, r *http.Request) {
	var dump func(*tabwriter.Writer)
	switch strings.TrimPrefix(r.URL.Path, DumpPath) {
	case "dump_priority_levels":
		dump = c.dumpLevels
	case "dump_queues":
		dump = c.dumpQueues
	case "dump_requests":
		details := r.URL.Query().Get("includeRequestDetails") != ""
		dump = func(w *tabwriter.Writer) { c.dumpRequests(w, details) }
	default:
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// A table is made before it is sent: no slow client holds a lock.
	var table strings.Builder
	tabs := tabwriter.NewWriter(&table, 8, 0, 1, ' ', 0)
	dump(tabs)
	_ = tabs.Flush()
	_, _ = io.WriteString(w, table.String())
}

func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, cell := range cells {
		text[i] = fmt.Sprint(cell)
	}
	_, _ = fmt.Fprintln(w, strings.Join(text, ",\t"))
}

// sorted are the levels by name.
func (c *Controller) sorted() []*state {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*state
	for _, s := range c.levels {
		copied := *s
		all = append(all, &copied)
	}
	slices.SortFunc(all, func(a, b *state) int { return strings.Compare(a.level.name, b.level.name) })
	return all
}

func (c *Controller) dumpLevels(w *tabwriter.Writer) {
	row(w, "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
		"DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests")
	for _, s := range c.sorted() {
		l := s.level
		l.mu.Lock()
		q := &l.queues
		cells := []any{l.name, len(q.backlog), q.idle(), s.leaving, q.waiting, q.executing, l.dispatched, l.rejected, l.timedOut, l.cancelled}
		l.mu.Unlock()
		row(w, cells...)
	}
}

// inUse are the queues that hold anything, by index. The caller holds the level's mu.
func (s *queues) inUse() []*queue {
	var all []*queue
	for _, q := range s.byIndex {
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b *queue) int { return a.index - b.index })
	return all
}

func (c *Controller) dumpQueues(w *tabwriter.Writer) {
	row(w, "PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum")
	for _, s := range c.sorted() {
		l := s.level
		var rows [][]any
		l.mu.Lock()
		for _, q := range l.queues.inUse() {
			initial := 0
			q.waiting.each(func(t *Turn) { initial += t.work.Seats })
			rows = append(rows, []any{l.name, q.index, q.waiting.n, q.executing.n, q.taken, seatSeconds(q.start), initial, q.seats, seatSeconds(q.work)})
		}
		l.mu.Unlock()
		for _, cells := range rows {
			row(w, cells...)
		}
	}
}

func seatSeconds(s float64) string { return fmt.Sprintf("%.8fss", s) }

func (c *Controller) dumpRequests(w *tabwriter.Writer, details bool) {
	head := []any{"PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime", "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime"}
	if details {
		head = append(head, "UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource")
	}
	row(w, head...)
	for _, s := range c.sorted() {
		l := s.level
		var rows [][]any
		add := func(queue, index int, t *Turn) {
			cells := []any{
				l.name, t.flow.schema, queue, index, t.distinguisher, t.arrived.UTC().Format(time.RFC3339Nano),
				t.work.Seats, t.work.Final, t.work.Extra, t.started.UTC().Format(time.RFC3339Nano),
			}
			if details {
				i := t.info
				version := i.Version
				if i.Group != "" {
					version = i.Group + "/" + version
				}
				cells = append(cells, t.who.GetName(), i.Verb, i.Path, i.Namespace, i.Name, version, i.Resource, i.Subresource)
			}
			rows = append(rows, cells)
		}
		l.mu.Lock()
		for _, q := range l.queues.inUse() {
			index := 0
			q.waiting.each(func(t *Turn) { add(q.index, index, t); index++ })
			q.executing.each(func(t *Turn) { add(q.index, -1, t) })
		}
		l.queues.unqueued.each(func(t *Turn) { add(-1, -1, t) })
		l.mu.Unlock()
		for _, cells := range rows {
			row(w, cells...)
		}
	}
}
