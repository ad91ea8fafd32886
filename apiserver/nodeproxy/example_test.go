package nodeproxy_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver/nodeproxy"
	"github.com/strake-io/strake/apiserver/resources/core"
)

// A kubelet of the same process is reached without a socket.
func Example() {
	pipes := &nodeproxy.Pipes{}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		kubelet := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			fmt.Fprint(w, "the node was asked for ", req.URL)
		})
		if err := pipes.Serve(ctx, "node-1", kubelet); err != nil {
			fmt.Println(err)
		}
	})

	proxy, err := nodeproxy.New(nodeproxy.Config{Dial: pipes.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
	handler, err := proxy.Kubelet(ctx, node, core.KubeletRequest{Path: "/stats/summary"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", "/api/v1/nodes/node-1/proxy/stats/summary", nil))
		if answer.Code == http.StatusOK { // until then the node is on its way up
			fmt.Println(answer.Body)
			break
		}
	}
	// Output: the node was asked for /stats/summary
}
