package controllers_test

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/strake-io/strake/controllers"
)

// A controller that labels every namespace.
func Example() {
	label := controllers.Registration{
		Name: "label",
		Setup: func(env *controllers.Env) (controllers.Controller, error) {
			namespaces := env.Informers.Core().V1().Namespaces()
			lister := namespaces.Lister()
			return controllers.Controller{
				Watches: []controllers.Watch{{Informer: namespaces.Informer(), Object: &corev1.Namespace{}}},
				Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) {
					ns, err := lister.Get(key.Name)
					if err != nil || ns.Labels["team"] != "" {
						return controllers.Plan{}, nil
					}
					labelled := ns.DeepCopy()
					labelled.Labels = map[string]string{"team": "unknown"}
					return controllers.Do(controllers.Write{Verb: controllers.Update, Object: labelled}), nil
				},
			}, nil
		},
	}

	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
	runner, err := controllers.New(controllers.Config{Client: client, Controllers: []controllers.Registration{label}})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- runner.Run(ctx) }()
	for {
		ns, err := client.CoreV1().Namespaces().Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			panic(err)
		}
		if team := ns.Labels["team"]; team != "" {
			fmt.Println("team:", team)
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	fmt.Println("stopped:", <-done)
	// Output:
	// team: unknown
	// stopped: <nil>
}
