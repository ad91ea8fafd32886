package customresources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/strake-io/strake/apiserver/webhook"
)

// webhookTimeout bounds one call of a conversion webhook, upstream's.
const webhookTimeout = 30 * time.Second

// poster is what calls webhooks: see webhook.Caller.
type poster interface {
	Post(ctx context.Context, to webhook.Target, timeout time.Duration, body, answer any) error
}

// byWebhook has the definition's webhook convert objects. The result is the
// caller's own.
func (c *converter) byWebhook(ctx context.Context, objs []*unstructured.Unstructured, to *version) ([]*unstructured.Unstructured, error) {
	hook := c.kind.crd.Spec.Conversion.Webhook
	if hook == nil || hook.ClientConfig == nil || c.caller == nil {
		return nil, fmt.Errorf("conversion webhook for %v failed: no webhook is configured", objs[0].GroupVersionKind())
	}
	raw := make([]runtime.RawExtension, len(objs))
	for i, u := range objs {
		data, err := u.MarshalJSON()
		if err != nil {
			return nil, err
		}
		raw[i].Raw = bytes.TrimSpace(data)
	}
	failed := func(err error) error {
		return fmt.Errorf("conversion webhook for %v failed: %w", objs[0].GroupVersionKind(), err)
	}
	answers, err := c.review(ctx, hook, raw, to.gvk.GroupVersion().String())
	if err != nil {
		return nil, failed(err)
	}
	if len(answers) != len(objs) {
		return nil, fmt.Errorf("conversion webhook for %v returned %d objects, expected %d", objs[0].GroupVersionKind(), len(answers), len(objs))
	}
	out := make([]*unstructured.Unstructured, len(objs))
	for i := range answers {
		out[i] = &unstructured.Unstructured{}
		err := out[i].UnmarshalJSON(answers[i].Raw)
		if err == nil {
			err = accept(objs[i], out[i], to.gvk.GroupVersion())
		}
		if err != nil {
			return nil, fmt.Errorf("conversion webhook for %v returned invalid converted object at index %d: %w", objs[i].GroupVersionKind(), i, err)
		}
	}
	return out, nil
}

// review asks in the first form of question that both sides know.
func (c *converter) review(ctx context.Context, hook *apiextensionsv1.WebhookConversion, objects []runtime.RawExtension, desired string) ([]runtime.RawExtension, error) {
	uid := uuid.NewUUID()
	target := targetOf(hook.ClientConfig)
	for _, v := range hook.ConversionReviewVersions {
		switch v {
		case "v1":
			question := &apiextensionsv1.ConversionReview{Request: &apiextensionsv1.ConversionRequest{UID: uid, DesiredAPIVersion: desired, Objects: objects}}
			question.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("ConversionReview"))
			answer := &apiextensionsv1.ConversionReview{}
			if err := c.caller.Post(ctx, target, webhookTimeout, question, answer); err != nil {
				return nil, err
			}
			return reviewed(uid, answer)
		case "v1beta1":
			question := &apiextensionsv1beta1.ConversionReview{Request: &apiextensionsv1beta1.ConversionRequest{UID: uid, DesiredAPIVersion: desired, Objects: objects}}
			question.SetGroupVersionKind(apiextensionsv1beta1.SchemeGroupVersion.WithKind("ConversionReview"))
			answer := &apiextensionsv1beta1.ConversionReview{}
			if err := c.caller.Post(ctx, target, webhookTimeout, question, answer); err != nil {
				return nil, err
			}
			if answer.Response == nil {
				return nil, errors.New("no response provided")
			}
			return converted(answer.Response.Result, answer.Response.ConvertedObjects)
		}
	}
	return nil, errors.New("no supported conversion review versions")
}

func reviewed(uid types.UID, answer *apiextensionsv1.ConversionReview) ([]runtime.RawExtension, error) {
	want := apiextensionsv1.SchemeGroupVersion.WithKind("ConversionReview")
	if got := answer.GroupVersionKind(); got != want {
		return nil, fmt.Errorf("expected webhook response of %v, got %v", want, got)
	}
	if answer.Response == nil {
		return nil, errors.New("no response provided")
	}
	if answer.Response.UID != uid {
		return nil, fmt.Errorf("expected response.uid=%q, got %q", uid, answer.Response.UID)
	}
	return converted(answer.Response.Result, answer.Response.ConvertedObjects)
}

func converted(result metav1.Status, objects []runtime.RawExtension) ([]runtime.RawExtension, error) {
	switch {
	case result.Status == metav1.StatusSuccess:
		return objects, nil
	case result.Message != "":
		return nil, errors.New(result.Message)
	}
	return nil, fmt.Errorf("response.result.status was '%s', not 'Success'", result.Status)
}

func targetOf(client *apiextensionsv1.WebhookClientConfig) webhook.Target {
	t := webhook.Target{CABundle: client.CABundle}
	if client.URL != nil {
		t.URL = *client.URL
	}
	if s := client.Service; s != nil {
		t.Service = &webhook.Service{Namespace: s.Namespace, Name: s.Name}
		if s.Path != nil {
			t.Service.Path = *s.Path
		}
		if s.Port != nil {
			t.Service.Port = *s.Port
		}
	}
	return t
}
