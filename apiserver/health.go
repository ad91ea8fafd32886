package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const checkTimeout = 3 * time.Second

func sortStrings(s []string) { slices.Sort(s) }

// checks of the server itself, then those of the configuration.
func (s *Server) checks() []Check {
	own := []Check{
		{Name: "ping", Live: true, Check: func(context.Context) error { return nil }},
		{Name: "store", Live: true, Check: func(ctx context.Context) error {
			_, err := s.config.Store.Revision(ctx)
			return err
		}},
		{Name: "watch-cache", Check: func(context.Context) error {
			select {
			case <-s.ready:
				return nil
			default:
				return errors.New("the watch cache is not loaded yet")
			}
		}},
	}
	return append(own, s.config.Checks...)
}

// healthHandler answers /NAME with all checks and /NAME/CHECK with one, in
// upstream's plain text.
func (s *Server) healthHandler(name string, live bool) http.Handler {
	var checks []Check
	for _, c := range s.checks() {
		if c.Live || !live {
			checks = append(checks, c)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		if one := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/"), name), "/"); one != "" {
			i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == one })
			if i < 0 {
				http.Error(w, "404 page not found", http.StatusNotFound)
				return
			}
			if err := s.check(ctx, name, checks[i]); err != nil {
				s.config.Logger.Info("A health check failed", "check", one, "error", err.Error())
				http.Error(w, "internal server error: reason withheld", http.StatusInternalServerError)
				return
			}
			_, _ = w.Write([]byte("ok"))
			return
		}
		s.answerAll(ctx, w, r, name, checks)
	})
}

// check asks one check of "healthz", "livez" or "readyz".
func (s *Server) check(ctx context.Context, kind string, c Check) error {
	err := c.Check(ctx)
	s.metrics.slis.observe(kind, c.Name, err)
	return err
}

func (s *Server) answerAll(ctx context.Context, w http.ResponseWriter, r *http.Request, name string, checks []Check) {
	query := r.URL.Query()
	var report strings.Builder
	failed := false
	for _, c := range checks {
		if slices.Contains(query["exclude"], c.Name) {
			fmt.Fprintf(&report, "[+]%s excluded: ok\n", c.Name)
			continue
		}
		if err := s.check(ctx, name, c); err != nil {
			// Who may see this need not see what is behind it.
			fmt.Fprintf(&report, "[-]%s failed: reason withheld\n", c.Name)
			s.config.Logger.Info("A health check failed", "check", c.Name, "error", err.Error())
			failed = true
			continue
		}
		fmt.Fprintf(&report, "[+]%s ok\n", c.Name)
	}
	switch {
	case failed:
		http.Error(w, report.String()+name+" check failed", http.StatusInternalServerError)
	case query.Has("verbose"):
		_, _ = fmt.Fprintf(w, "%s%s check passed\n", report.String(), name)
	default:
		_, _ = w.Write([]byte("ok"))
	}
}
