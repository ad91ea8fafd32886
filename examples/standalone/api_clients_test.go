package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

func testInformers(t *testing.T, c *cluster) {
	client, _ := c.client()
	maps := client.CoreV1().ConfigMaps("default")
	ctx, cancel := context.WithCancel(t.Context())
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace("default"))
	seen := make(chan string, 100)
	tell := func(what string, obj any) {
		if m, ok := obj.(*corev1.ConfigMap); ok && strings.HasPrefix(m.Name, "informed") {
			seen <- what + " " + m.Name
		}
	}
	handle, err := factory.Core().V1().ConfigMaps().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { tell("add", obj) },
		UpdateFunc: func(_, obj any) { tell("update", obj) },
		DeleteFunc: func(obj any) { tell("delete", obj) },
	})
	if err != nil {
		t.Fatal(err)
	}
	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), handle.HasSynced) {
		t.Fatal("the informer does not sync")
	}
	m, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "informed-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Data = map[string]string{"a": "b"}
	if _, err := maps.Update(ctx, m, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(ctx, m.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(m.UID))}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"add ", "update ", "delete "} {
		select {
		case got := <-seen:
			if got != want+m.Name {
				t.Errorf("the informer saw %q, want %q", got, want+m.Name)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("the informer saw no %s", want)
		}
	}
}

// nextEvent is the next event of a watch.
func nextEvent(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case ev, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch ended")
		}
		return ev
	case <-time.After(20 * time.Second):
		t.Fatal("the watch says nothing")
	}
	return watch.Event{}
}

func testVersions(t *testing.T, c *cluster) {
	client, _ := c.client()
	maps := client.CoreV1().ConfigMaps("pages")
	c.kubectl("create", "namespace", "pages")
	c.says("kube-root-ca.crt", "get", "configmaps", "-n", "pages")
	const n = 20
	for i := range n {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m%02d", i), Labels: map[string]string{"n": "m"}}}
		if _, err := maps.Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// Pages are of one revision, whatever is written meanwhile.
	options := metav1.ListOptions{LabelSelector: "n=m", Limit: 7}
	got, version := 0, ""
	for {
		page, err := maps.List(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if version == "" {
			version = page.ResourceVersion
		}
		if page.ResourceVersion != version {
			t.Errorf("a page of revision %s after one of %s", page.ResourceVersion, version)
		}
		got += len(page.Items)
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
		if err := maps.Delete(t.Context(), fmt.Sprintf("m%02d", n-got/7), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got != n {
		t.Errorf("the pages hold %d objects, want %d", got, n)
	}
	exact, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: "n=m", ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	if err != nil || len(exact.Items) != n {
		t.Errorf("at the exact version: %d objects, %v", len(exact.Items), err)
	}

	// A watch from a version goes on from there; initial events end with a bookmark.
	w, err := maps.Watch(t.Context(), metav1.ListOptions{LabelSelector: "n=m", ResourceVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	if ev := nextEvent(t, w); ev.Type != watch.Deleted {
		t.Errorf("after the list: %v", ev)
	}
	w.Stop()
	yes := true
	w, err = maps.Watch(t.Context(), metav1.ListOptions{
		LabelSelector: "n=m", SendInitialEvents: &yes, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for added := 0; ; added++ {
		ev := nextEvent(t, w)
		if ev.Type == watch.Bookmark {
			if m := ev.Object.(*corev1.ConfigMap); m.Annotations[metav1.InitialEventsAnnotationKey] != "true" || added != n-2 {
				t.Errorf("after %d events: %v", added, m)
			}
			break
		}
		if ev.Type != watch.Added {
			t.Fatalf("among the initial events: %v", ev)
		}
	}

	// Views of the same objects.
	for accept, want := range map[string]string{
		"application/json":                                             `{"kind":"ConfigMap","apiVersion":"v1","metadata":`,
		"application/yaml":                                             "kind: ConfigMap",
		"application/vnd.kubernetes.protobuf":                          "k8s\x00",
		"application/json;as=Table;v=v1;g=meta.k8s.io":                 `"columnDefinitions":[{"name":"Name"`,
		"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io": `"kind":"PartialObjectMetadata"`,
	} {
		data, err := client.CoreV1().RESTClient().Get().Namespace("pages").Resource("configmaps").Name("m00").SetHeader("Accept", accept).DoRaw(t.Context())
		if err != nil || !bytes.Contains(data, []byte(want)) {
			t.Errorf("as %s: %v, %.100q", accept, err, data)
		}
	}
	c.kubectl("delete", "namespace", "pages", "--timeout=30s")
}

func testDryRuns(t *testing.T, c *cluster) {
	client, _ := c.client()
	maps := client.CoreV1().ConfigMaps("default")
	all := []string{metav1.DryRunAll}
	if made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "dry-"}}, metav1.CreateOptions{DryRun: all}); err != nil || made.UID == "" || made.Name == "dry-" {
		t.Errorf("create: %v, %v", made, err)
	}
	made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "dry"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	changed := made.DeepCopy()
	changed.Data = map[string]string{"a": "b"}
	if got, err := maps.Update(t.Context(), changed, metav1.UpdateOptions{DryRun: all}); err != nil || got.Data["a"] != "b" {
		t.Errorf("update: %v, %v", got, err)
	}
	for _, kind := range []types.PatchType{types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType} {
		body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"b"}}`)
		if got, err := maps.Patch(t.Context(), "dry", kind, body, metav1.PatchOptions{DryRun: all, FieldManager: "m"}); err != nil || got.Data["a"] != "b" {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
	}
	if err := maps.Delete(t.Context(), "dry", metav1.DeleteOptions{DryRun: all}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: all}, metav1.ListOptions{}); err != nil {
		t.Errorf("deletecollection: %v", err)
	}
	if got, err := maps.Get(t.Context(), "dry", metav1.GetOptions{}); err != nil || got.ResourceVersion != made.ResourceVersion {
		t.Errorf("after all the dry runs: %v, %v; want it as it was", got, err)
	}
}

func testOtherClients(t *testing.T, c *cluster) {
	client, config := c.client()
	gvr := corev1.SchemeGroupVersion.WithResource("configmaps")
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "dynamic"}, "data": map[string]any{"a": "b"},
	}}
	if _, err := objects.Resource(gvr).Namespace("default").Apply(t.Context(), "dynamic", u, metav1.ApplyOptions{FieldManager: "me"}); err != nil {
		t.Errorf("dynamic apply: %v", err)
	}
	heads, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	head, err := heads.Resource(gvr).Namespace("default").Get(t.Context(), "dynamic", metav1.GetOptions{})
	if err != nil || head.Name != "dynamic" || len(head.ManagedFields) != 1 {
		t.Errorf("metadata: %+v, %v", head, err)
	}

	// The same event in both groups.
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "default"}, EventTime: metav1.NowMicro(), Type: "Normal",
		ReportingController: "example.com/test", ReportingInstance: "one", Action: "Test", Reason: "Tested", Note: "a note",
		Regarding: corev1.ObjectReference{Kind: "ConfigMap", Namespace: "default", Name: "dynamic"},
	}
	if _, err := client.EventsV1().Events("default").Create(t.Context(), event, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	old, err := client.CoreV1().Events("default").Get(t.Context(), "e", metav1.GetOptions{})
	if err != nil || old.Message != "a note" || old.InvolvedObject.Name != "dynamic" {
		t.Errorf("the event as a core event: %+v, %v", old, err)
	}

	// Field managers are told apart by sub-resource; a status changes nothing else.
	c.apply(fmt.Sprintf(simplePod, "managed", ""))
	c.kubectl("wait", "pod/managed", "--for=condition=Ready", "--timeout=30s")
	pods := client.CoreV1().Pods("default")
	pod, err := pods.Get(t.Context(), "managed", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var managers []string
	for _, m := range pod.ManagedFields {
		managers = append(managers, m.Manager+"/"+m.Subresource)
	}
	if got := strings.Join(managers, " "); got != "kubectl-client-side-apply/ kubelet/status" {
		t.Errorf("managers of a pod that runs: %s", got)
	}
	pod.Labels["new"] = "label"
	pod.Status.Message = "said by a test"
	pod, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	if err != nil || pod.Labels["new"] != "" && pod.Spec.NodeName == "" || pod.Status.Message != "said by a test" {
		t.Errorf("a status: %+v, %v", pod, err)
	}
	wrong := []byte(`{"metadata":{"uid":"00000000-0000-0000-0000-000000000000"},"status":{"message":"x"}}`)
	if _, err := pods.Patch(t.Context(), "managed", types.StrategicMergePatchType, wrong, metav1.PatchOptions{}, "status"); !apierrors.IsInvalid(err) {
		t.Errorf("a status for a pod of that name that is gone: %v, want it invalid: the UID cannot change", err)
	}
	gone, err := deletedPod(t.Context(), client, "managed")
	if err != nil || gone.UID != pod.UID {
		t.Errorf("a deletion at once answers %+v, %v; want the pod", gone, err)
	}
}

// deletedPod deletes a pod at once and returns what the answer has in it.
func deletedPod(ctx context.Context, client *kubernetes.Clientset, name string) (*corev1.Pod, error) {
	now := int64(0)
	pod := &corev1.Pod{}
	err := client.CoreV1().RESTClient().Delete().Namespace("default").Resource("pods").Name(name).
		Body(&metav1.DeleteOptions{GracePeriodSeconds: &now}).Do(ctx).Into(pod)
	return pod, err
}
