package aggregation

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// Authentication is what other servers have to know to believe the aggregator, and
// the clients that come to them directly. They read it from the ConfigMap
// extension-apiserver-authentication.
type Authentication struct {
	// ClientCA is the PEM certificate that signs client certificates.
	ClientCA []byte
	// RequestHeaderCA is the one that signed the aggregator's own, and Names are
	// the common names that this may have; none means any.
	RequestHeaderCA []byte
	Names           []string
}

// Publish writes the ConfigMap. What others wrote into it beside, it leaves.
func (p Authentication) Publish(ctx context.Context, client kubernetes.Interface) error {
	names, err := json.Marshal(append([]string{}, p.Names...))
	if err != nil {
		return err
	}
	data := map[string]string{}
	if len(p.ClientCA) > 0 {
		data["client-ca-file"] = string(p.ClientCA)
	}
	if len(p.RequestHeaderCA) > 0 {
		data["requestheader-client-ca-file"] = string(p.RequestHeaderCA)
		data["requestheader-allowed-names"] = string(names)
		data["requestheader-username-headers"] = `["X-Remote-User"]`
		data["requestheader-uid-headers"] = `["X-Remote-Uid"]`
		data["requestheader-group-headers"] = `["X-Remote-Group"]`
		data["requestheader-extra-headers-prefix"] = `["X-Remote-Extra-"]`
	}
	if len(data) == 0 {
		return nil
	}
	maps := client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		is, err := maps.Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = maps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "extension-apiserver-authentication"}, Data: data,
			}, metav1.CreateOptions{})
			return err
		}
		if err != nil {
			return err
		}
		changed := false
		for key, value := range data {
			if is.Data[key] != value {
				changed = true
				if is.Data == nil {
					is.Data = map[string]string{}
				}
				is.Data[key] = value
			}
		}
		if !changed {
			return nil
		}
		_, err = maps.Update(ctx, is, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("publishing how other servers authenticate requests: %w", err)
	}
	return nil
}
