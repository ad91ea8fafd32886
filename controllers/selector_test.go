package controllers_test

import "k8s.io/apimachinery/pkg/labels"

func selector(s string) labels.Selector {
	sel, err := labels.Parse(s)
	if err != nil {
		panic(err)
	}
	return sel
}
