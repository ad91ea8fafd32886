package registry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// continuation is what a continue token holds, in upstream's form: Start is the
// first key of the next page below the list's prefix, RV the revision of the list
// or -1 for whatever is newest.
type continuation struct {
	Version string `json:"v"`
	RV      int64  `json:"rv"`
	Start   string `json:"start"`
}

const (
	continueVersion = "meta.k8s.io/v1"
	maxContinue     = 8 << 10
)

// encodeContinue makes the token of a list that goes on behind the key last.
func encodeContinue(last, prefix string, revision int64) string {
	// The first key that sorts after another is that one with a NUL behind it.
	token, err := json.Marshal(continuation{continueVersion, revision, strings.TrimPrefix(last, prefix) + "\x00"})
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(token)
}

// decodeContinue returns the key after which the list goes on, and its revision
// (negative: the newest).
func decodeContinue(token, prefix string) (after string, revision int64, err error) {
	if len(token) > maxContinue {
		return "", 0, errors.New("continue key is too long")
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", 0, fmt.Errorf("continue key is not valid: %w", err)
	}
	var c continuation
	if err := json.Unmarshal(data, &c); err != nil {
		return "", 0, fmt.Errorf("continue key is not valid: %w", err)
	}
	switch {
	case c.Version != continueVersion:
		return "", 0, fmt.Errorf("continue key is not valid: server does not recognize this encoded version %v", c.Version)
	case c.RV == 0:
		return "", 0, errors.New("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
	case c.Start == "":
		return "", 0, errors.New("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)")
	}
	if rooted := "/" + strings.TrimPrefix(c.Start, "/"); path.Clean(rooted) != rooted {
		return "", 0, fmt.Errorf("continue key is not valid: %v", c.Start)
	}
	start, behind := strings.CutSuffix(c.Start, "\x00")
	after = prefix + start
	if !behind && start != "" {
		// A token that names the first key itself: go on behind the greatest key
		// that is smaller. No key holds bytes this high.
		last := start[len(start)-1]
		if last == 0 {
			return "", 0, errors.New("continue key is not valid")
		}
		after = prefix + start[:len(start)-1] + string([]byte{last - 1}) + "\xff"
	}
	return after, max(c.RV, -1), nil
}

// expiredPage is the 410 of a page whose revision is gone. It carries a token to
// go on with all the same, at the newest revision.
func expiredPage(after, prefix string) error {
	err := apierrors.NewResourceExpired("The provided continue parameter is too old " +
		"to display a consistent list result. You can start a new list without the continue parameter, " +
		"or use the continue token in this response to retrieve the remainder of the results. " +
		"Continuing with the provided token results in an inconsistent list - objects that were created, " +
		"modified, or deleted between the time the first chunk was returned and now may show up in the list.")
	err.ErrStatus.ListMeta = metav1.ListMeta{Continue: encodeContinue(after, prefix, -1)}
	return err
}
