package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// ErrFull says that a webhook is behind and that its buffer has no room.
var ErrFull = errors.New("the buffer of audit events is full")

// Upstream's defaults.
const (
	defaultBuffer   = 10000
	defaultBatch    = 400
	defaultWait     = 30 * time.Second
	webhookTries    = 5
	webhookFirst    = 10 * time.Second // the wait after the first failure
	maxWebhookReply = 64 << 10
)

// WebhookConfig configures [NewWebhook]. URL and Client are required.
type WebhookConfig struct {
	// URL that lists of events are POSTed to.
	URL string
	// Client with the credentials and the trust that the URL needs.
	Client *http.Client
	// Buffer is how many events may wait; 0 means 10,000. More are lost.
	Buffer int
	// Batch is how many events are sent at once; 0 means 400.
	Batch int
	// Wait is for how long a batch is filled; 0 means 30 s.
	Wait time.Duration
	// Retry is how long is waited after a first failure; it doubles. 0 means 10 s.
	Retry time.Duration
	// Logger of batches that were lost.
	Logger logr.Logger
}

// Webhook is a sink that sends events elsewhere in batches (audit.k8s.io/v1 EventList),
// without delaying requests. Events that it cannot send within five tries are lost.
type Webhook struct {
	config WebhookConfig
	events chan *auditv1.Event
}

// NewWebhook checks the configuration; Run sends.
func NewWebhook(config WebhookConfig) (*Webhook, error) {
	if config.URL == "" || config.Client == nil {
		return nil, errors.New("audit: WebhookConfig.URL and WebhookConfig.Client are required")
	}
	for value, fallback := range map[*int]int{&config.Buffer: defaultBuffer, &config.Batch: defaultBatch} {
		if *value < 0 {
			return nil, errors.New("audit: WebhookConfig.Buffer and WebhookConfig.Batch must not be negative")
		}
		if *value == 0 {
			*value = fallback
		}
	}
	if config.Wait <= 0 {
		config.Wait = defaultWait
	}
	if config.Retry <= 0 {
		config.Retry = webhookFirst
	}
	return &Webhook{config: config, events: make(chan *auditv1.Event, config.Buffer)}, nil
}

// Write implements [Sink]. It fails with [ErrFull] and never waits.
func (w *Webhook) Write(event *auditv1.Event) error {
	select {
	case w.events <- event:
		return nil
	default:
		return ErrFull
	}
}

// Run sends until ctx ends, and then what is left, once.
func (w *Webhook) Run(ctx context.Context) error {
	for {
		batch, open := w.fill(ctx)
		if len(batch) > 0 {
			w.deliver(ctx, batch)
		}
		if !open {
			return nil
		}
	}
}

// fill takes events until a batch is full or has waited long enough. open is false
// once ctx has ended and nothing is left.
func (w *Webhook) fill(ctx context.Context) (batch []auditv1.Event, open bool) {
	var over <-chan time.Time
	for len(batch) < w.config.Batch {
		select {
		case event := <-w.events:
			batch = append(batch, *event)
			if over == nil {
				over = time.After(w.config.Wait)
			}
		case <-over:
			return batch, true
		case <-ctx.Done():
			for len(batch) < w.config.Batch {
				select {
				case event := <-w.events:
					batch = append(batch, *event)
				default:
					return batch, false
				}
			}
			return batch, true
		}
	}
	return batch, true
}

func (w *Webhook) deliver(ctx context.Context, batch []auditv1.Event) {
	body, err := json.Marshal(&auditv1.EventList{
		TypeMeta: metav1.TypeMeta{APIVersion: auditv1.SchemeGroupVersion.String(), Kind: "EventList"}, Items: batch,
	})
	if err != nil {
		w.config.Logger.Error(err, "Audit events were lost", "events", len(batch))
		return
	}
	pause := w.config.Retry
	for try := 1; ; try++ {
		// What is under way at the end is not broken off.
		if err = w.post(context.WithoutCancel(ctx), body); err == nil {
			return
		}
		if try == webhookTries || ctx.Err() != nil {
			w.config.Logger.Error(err, "Audit events were lost", "events", len(batch), "tries", try)
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause *= 2
	}
}

// postTimeout bounds one try.
const postTimeout = 30 * time.Second

func (w *Webhook) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.config.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := w.config.Client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxWebhookReply))
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the audit webhook answered %s", response.Status)
	}
	return nil
}
