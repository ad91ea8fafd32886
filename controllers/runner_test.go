package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
)

// wantThree is a controller that wants three secrets for each config map and
// trusts its cache.
func wantThree() controllers.Registration {
	return controllers.Registration{Name: "three", Component: "three", Setup: func(env *controllers.Env) (controllers.Controller, error) {
		core := env.Informers.Core().V1()
		maps, secrets := core.ConfigMaps().Lister(), core.Secrets().Lister()
		return controllers.Controller{
			Watches: []controllers.Watch{
				{Informer: core.ConfigMaps().Informer(), Object: &corev1.ConfigMap{}},
				{Informer: core.Secrets().Informer(), Object: &corev1.Secret{}, Keys: func(c controllers.Change) []controllers.Key {
					return []controllers.Key{{Namespace: c.Object().GetNamespace(), Name: c.Object().GetLabels()["for"]}}
				}},
			},
			Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) {
				return threePlan(maps, secrets, key)
			},
		}, nil
	}}
}

func threePlan(maps corelisters.ConfigMapLister, secrets corelisters.SecretLister, key controllers.Key) (controllers.Plan, error) {
	cm, err := maps.ConfigMaps(key.Namespace).Get(key.Name)
	if err != nil {
		return controllers.Plan{}, nil
	}
	have, err := secrets.Secrets(key.Namespace).List(selector("for=" + key.Name))
	if err != nil {
		return controllers.Plan{}, err
	}
	var writes []controllers.Write
	for range 3 - len(have) {
		writes = append(writes, controllers.Write{
			Verb:   controllers.Create,
			Object: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, GenerateName: key.Name + "-", Labels: map[string]string{"for": key.Name}}},
			Done:   &controllers.Event{About: cm, Type: "Normal", Reason: "Made", Message: "Made %s"},
			Failed: &controllers.Event{About: cm, Type: "Warning", Reason: "Failed", Message: "Error: %s"},
		})
	}
	return controllers.Plan{Steps: []controllers.Step{{Writes: writes, Mode: controllers.SlowStart}}}, nil
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
}

func count(api *fakeapi.API, prefix string) (n int) {
	for _, w := range api.Writes() {
		if strings.HasPrefix(w, prefix) {
			n++
		}
	}
	return n
}

func TestNeverActsTwiceOnALaggingCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		api.Lag = func(gvr schema.GroupVersionResource) time.Duration {
			if gvr.Resource == "secrets" {
				return 10 * time.Second
			}
			return 0
		}
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{wantThree()}})
		cm, err := api.Client.CoreV1().ConfigMaps("ns").Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// The config map changes all the time while the cache shows no secret.
		for i := range 30 {
			cm.Data = map[string]string{"i": fmt.Sprint(i)}
			if cm, err = api.Client.CoreV1().ConfigMaps("ns").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if n := count(api, "create secrets"); n != 3 {
			t.Errorf("%d secrets created, want 3", n)
		}
		// What is gone is made again, once.
		secrets, _ := api.Client.CoreV1().Secrets("ns").List(t.Context(), metav1.ListOptions{})
		if err := api.Client.CoreV1().Secrets("ns").Delete(t.Context(), secrets.Items[0].Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := count(api, "create secrets"); n != 4 {
			t.Errorf("%d secrets created after one was deleted, want 4", n)
		}
		api.Wait()
	})
}

func TestSlowStartAndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		var mu sync.Mutex
		refuse, tried := true, []time.Time{}
		api.Deny = func(verb string, gvr schema.GroupVersionResource, _ runtime.Object) error {
			mu.Lock()
			defer mu.Unlock()
			if gvr.Resource == "secrets" {
				tried = append(tried, time.Now())
				if refuse {
					return errors.New("quota")
				}
			}
			return nil
		}
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{wantThree()}})
		if _, err := api.Client.CoreV1().ConfigMaps("ns").Create(t.Context(), configMap("a"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		got := len(tried)
		refuse = false
		mu.Unlock()
		if got != 5 { // one request each at 0, 5, 15, 35, 75 ms
			t.Errorf("%d requests in 100 ms of failures, want 5", got)
		}
		time.Sleep(time.Second)
		if n := count(api, "create secrets"); n != 3 {
			t.Errorf("%d secrets, want 3", n)
		}
		events, _ := api.Client.CoreV1().Events("ns").List(t.Context(), metav1.ListOptions{})
		var reasons []string
		for _, e := range events.Items {
			reasons = append(reasons, e.Reason)
			if e.Reason == "Failed" && !strings.HasPrefix(e.Message, "Error: quota") {
				t.Errorf("message %q", e.Message)
			}
		}
		if !slices.Contains(reasons, "Failed") || !slices.Contains(reasons, "Made") {
			t.Errorf("events %v", reasons)
		}
	})
}

func TestAKeyIsNeverReconciledTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		var mu sync.Mutex
		running, most, total := map[string]int{}, 0, 0
		slow := controllers.Registration{Name: "slow", Workers: 3, Setup: func(env *controllers.Env) (controllers.Controller, error) {
			return controllers.Controller{
				Watches: []controllers.Watch{{Informer: env.Informers.Core().V1().ConfigMaps().Informer()}},
				Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) {
					mu.Lock()
					running[key.Name]++
					total++
					if running[key.Name] > 1 {
						t.Errorf("%s twice at once", key.Name)
					}
					most = max(most, len(running))
					mu.Unlock()
					time.Sleep(time.Second)
					mu.Lock()
					delete(running, key.Name)
					mu.Unlock()
					return controllers.Plan{}, nil
				},
			}, nil
		}}
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{slow}})
		for i := range 20 {
			cm := configMap(fmt.Sprint("m", i%5))
			cm.Data = map[string]string{"i": fmt.Sprint(i)}
			_, err := api.Client.CoreV1().ConfigMaps("ns").Create(t.Context(), cm, metav1.CreateOptions{})
			if err != nil {
				_, err = api.Client.CoreV1().ConfigMaps("ns").Update(t.Context(), cm, metav1.UpdateOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 {
			t.Errorf("at most %d at once, want 3", most)
		}
		if total < 5 || total > 20 {
			t.Errorf("%d reconciles of 20 changes of 5 objects", total)
		}
	})
}

func TestStopJoinsEverythingAndMetricsCanBeReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		for range 2 {
			api := fakeapi.New(configMap("a"))
			stop := fakeapi.Start(t, controllers.Config{Client: api.Client, Registerer: registry, Controllers: []controllers.Registration{wantThree()}})
			time.Sleep(time.Second)
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range families {
				names = append(names, f.GetName())
			}
			for _, want := range []string{"workqueue_adds_total", "workqueue_depth", "workqueue_work_duration_seconds"} {
				if !slices.Contains(names, want) {
					t.Errorf("no metric %s in %v", want, names)
				}
			}
			stop()
		}
	})
}

func TestOneLeaderAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		config := func(id string) controllers.Config {
			return controllers.Config{Client: api.Client, Controllers: []controllers.Registration{wantThree()}, LeaderElection: &controllers.LeaderElection{Identity: id}}
		}
		stopA := fakeapi.Start(t, config("a"))
		time.Sleep(time.Second)
		fakeapi.Start(t, config("b"))
		if _, err := api.Client.CoreV1().ConfigMaps("ns").Create(t.Context(), configMap("x"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := count(api, "create secrets"); n != 3 {
			t.Fatalf("%d secrets with two runners, want 3", n)
		}
		stopA()
		if _, err := api.Client.CoreV1().ConfigMaps("ns").Create(t.Context(), configMap("y"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := count(api, "create secrets"); n != 6 {
			t.Errorf("%d secrets after the second took over, want 6", n)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	api := fakeapi.New()
	for name, config := range map[string]controllers.Config{
		"no client":   {},
		"no identity": {Client: api.Client, LeaderElection: &controllers.LeaderElection{}},
		"twice":       {Client: api.Client, Controllers: []controllers.Registration{wantThree(), wantThree()}},
	} {
		if _, err := controllers.New(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
