package volumes

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TokenSource mints service account tokens. Client-go's
// ServiceAccounts(ns).CreateToken with the pod as bound object is one.
type TokenSource interface {
	// Token makes a token of the pod's service account, bound to the pod, for
	// the audience ("" is the API server's own) and lifetime asked for.
	Token(ctx context.Context, pod *corev1.Pod, audience string, expirationSeconds int64) (token string, expires time.Time, err error)
}

type tokenKey struct {
	pod      types.UID
	audience string
	seconds  int64
}

type heldToken struct {
	token              string
	refreshAt, expires time.Time
}

// tokens keeps minted tokens until it is time for fresh ones.
type tokens struct {
	source TokenSource
	jitter func() time.Duration

	mu   sync.Mutex // guards held
	held map[tokenKey]heldToken
}

// refreshTime is when a token is replaced: past 80% of its life, or after a day.
func refreshTime(now, expires time.Time, jitter time.Duration) time.Time {
	life := expires.Sub(now)
	at := now.Add(life * 8 / 10)
	if day := now.Add(24 * time.Hour); at.After(day) {
		at = day
	}
	return at.Add(-min(jitter, life/10))
}

func (t *tokens) get(ctx context.Context, pod *corev1.Pod, p *corev1.ServiceAccountTokenProjection, now time.Time) (string, error) {
	if t.source == nil {
		return "", errors.New("service account tokens are not available on this node")
	}
	seconds := int64(3600)
	if p.ExpirationSeconds != nil {
		seconds = *p.ExpirationSeconds
	}
	key := tokenKey{pod.UID, p.Audience, seconds}
	t.mu.Lock()
	held, ok := t.held[key]
	t.mu.Unlock()
	if ok && now.Before(held.refreshAt) {
		return held.token, nil
	}
	token, expires, err := t.source.Token(ctx, pod, p.Audience, seconds)
	if err != nil {
		if ok && now.Before(held.expires) {
			// The old one still works; the next refresh tries again.
			return held.token, nil
		}
		return "", err
	}
	t.mu.Lock()
	t.held[key] = heldToken{token: token, refreshAt: refreshTime(now, expires, t.jitter()), expires: expires}
	t.mu.Unlock()
	return token, nil
}

func (t *tokens) forget(pod types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.held {
		if k.pod == pod {
			delete(t.held, k)
		}
	}
}

// pods that hold a token.
func (t *tokens) pods() []types.UID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var uids []types.UID
	for k := range t.held {
		uids = append(uids, k.pod)
	}
	return uids
}
