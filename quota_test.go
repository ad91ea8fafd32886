package strake

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestQuota: many who create at once never get more than a quota has room for, what
// goes makes room again, and a dry run takes none.
func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, Config{FakeNodes: 1})
		defer stop()
		ctx, client := t.Context(), c.Client().CoreV1()
		if _, err := client.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "crowded"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			corev1.ResourceSecrets: resource.MustParse("20"), "count/ships.example.com": resource.MustParse("1"),
		}}}
		if _, err := client.ResourceQuotas("crowded").Create(ctx, quota, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		used := func() string {
			q, err := client.ResourceQuotas("crowded").Get(ctx, "q", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			n := q.Status.Used[corev1.ResourceSecrets]
			return n.String()
		}
		create := func(name string, dry ...string) error {
			_, err := client.Secrets("crowded").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: dry})
			return err
		}
		if err := create("dry", metav1.DryRunAll); err != nil || used() != "0" {
			t.Errorf("a dry run: %v, %s used", err, used())
		}
		var made atomic.Int32
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				err := create(fmt.Sprint("s", i))
				if err == nil {
					made.Add(1)
				} else if !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), "exceeded quota: q, requested: secrets=1, used: secrets=20, limited: secrets=20") {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if made.Load() != 20 || used() != "20" {
			t.Errorf("%d were made, %s are used", made.Load(), used())
		}
		if err := create("another", metav1.DryRunAll); !apierrors.IsForbidden(err) {
			t.Errorf("a dry run where there is no room: %v", err)
		}
		secrets, err := client.Secrets("crowded").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets.Items[:5] {
			if err := client.Secrets("crowded").Delete(ctx, s.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		if used() != "15" {
			t.Errorf("after five have gone %s are used", used())
		}
		// A name that is taken is refused after it has been charged: the charge does not stay.
		if err := create(secrets.Items[9].Name); !apierrors.IsAlreadyExists(err) {
			t.Errorf("a name twice: %v", err)
		}
		time.Sleep(6 * time.Minute)
		if used() != "15" {
			t.Errorf("after a create that failed %s are used", used())
		}
	})
}
