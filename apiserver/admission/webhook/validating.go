package webhook

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/match"
)

// asked is one validating webhook that a write matches, and what became of it.
type asked struct {
	hook *hook
	as   admission.Served
	// said are the warnings and annotations, which are passed on one after another.
	said []func()
	err  error
}

// Validate implements admission.Validator. All webhooks are asked at once; of several
// refusals the client hears the one of the first webhook.
func (v *Validating) Validate(ctx context.Context, a *admission.Attributes) error {
	hooks, err := v.known.hooks(ctx, a)
	if err != nil || len(hooks) == 0 || match.ExemptFromWebhooks(a) {
		return err
	}
	var all []*asked
	for i := range hooks {
		as, matched, err := v.config.matches(ctx, a, &hooks[i])
		if err != nil {
			return err
		}
		if matched {
			all = append(all, &asked{hook: &hooks[i], as: as})
		}
	}
	if len(all) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return errTimeout()
	}
	if len(all) == 1 {
		v.ask(ctx, a, all[0], 0)
	} else {
		var wait sync.WaitGroup
		for i, one := range all {
			wait.Go(func() { v.ask(ctx, a, one, i) })
		}
		wait.Wait()
	}
	for _, one := range all {
		for _, say := range one.said {
			say()
		}
	}
	for _, one := range all {
		if one.err != nil {
			return one.err
		}
	}
	return nil
}

func (v *Validating) ask(ctx context.Context, a *admission.Attributes, one *asked, index int) {
	own := *a
	own.Warn = func(message string) { one.said = append(one.said, func() { a.Warn(message) }) }
	own.Annotate = func(key, value string) { one.said = append(one.said, func() { a.Audit(key, value) }) }
	if _, _, err := v.config.ask(ctx, &own, one.hook, one.as, false); err != nil {
		one.err = one.hook.outcome(ctx, &own, err, fmt.Sprintf("failed-open.validating.webhook.admission.k8s.io/round_0_index_%d", index))
	}
}

func errTimeout() error {
	return apierrors.NewTimeoutError("request did not complete within requested timeout", 0)
}
