package main

import (
	"strings"
	"testing"
)

func TestPodRuns(t *testing.T) {
	c := newCluster(t)
	c.kubectl("run", "web", "--image="+c.image("v1"))
	c.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
	if out := c.kubectl("exec", "web", "--", "echo", "hello"); out != "hello" {
		t.Errorf("exec said %q", out)
	}
	c.kubectl("delete", "pod", "web", "--now")
	said := c.stop()
	if !strings.Contains(said, "What is left") {
		t.Errorf("it did not say what is left:\n%s", said)
	}
}
