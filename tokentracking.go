package strake

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/apiserver/authn/tokens"
)

// The config map that says since when it is told of tokens in secrets when they were
// used last, so that a controller manager can clean up those that nobody uses
// (KEP-2799).
const (
	tokenTracking      = "kube-apiserver-legacy-service-account-token-tracking"
	tokenTrackingSince = "since"
)

// ensureTokenTracking makes the config map, or mends its date.
func ensureTokenTracking(ctx context.Context, client kubernetes.Interface, now time.Time) error {
	maps, today := client.CoreV1().ConfigMaps(metav1.NamespaceSystem), now.UTC().Format(time.DateOnly)
	found, err := maps.Get(ctx, tokenTracking, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: tokenTracking}, Data: map[string]string{tokenTrackingSince: today},
		}, metav1.CreateOptions{})
	case err == nil:
		if _, bad := time.Parse(time.DateOnly, found.Data[tokenTrackingSince]); bad == nil {
			return nil
		}
		found = found.DeepCopy()
		if found.Data == nil {
			found.Data = map[string]string{}
		}
		found.Data[tokenTrackingSince] = today
		_, err = maps.Update(ctx, found, metav1.UpdateOptions{})
	}
	// Another master was first, or the next look will see to it.
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("the config map %s: %w", tokenTracking, err)
}

// keepTokenTracking looks after it until ctx ends.
func (c *ControlPlane) keepTokenTracking(ctx context.Context, client kubernetes.Interface) {
	ticks := time.NewTicker(repairInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if err := ensureTokenTracking(ctx, client, time.Now()); err != nil && ctx.Err() == nil {
			c.config.Logger.Error(err, "Could not keep a config map that tells of tokens in secrets")
		}
	}
}

// secretToken makes a token that stands in a secret.
func (c *ControlPlane) secretToken(namespace, account string, uid types.UID, secret string) (string, error) {
	return c.tokens.IssueLegacy(namespace, tokens.Ref{Name: account, UID: uid}, secret)
}

// tokenUsed labels a secret with the day on which its token was used.
func (c *ControlPlane) tokenUsed(ctx context.Context, secret *corev1.Secret, day string) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": secret.UID, "labels": map[string]string{tokens.LastUsedLabel: day}}})
	if err == nil {
		_, err = c.admin.CoreV1().Secrets(secret.Namespace).Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		c.config.Logger.Error(err, "Could not label a secret with the day of its use", "namespace", secret.Namespace, "secret", secret.Name)
	}
}
