package authn

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"
)

const websocketTokenPrefix = "base64url.bearer.authorization.k8s.io."

// websocketToken is the token of a browser, which cannot set an Authorization
// header on a WebSocket and sends it as one of the sub-protocols instead. That
// one is taken out of the request, so that it is neither answered nor passed on.
func websocketToken(r *http.Request) (string, bool) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return "", false
	}
	var token string
	var rest []string
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for protocol := range strings.SplitSeq(header, ",") {
			protocol = strings.TrimSpace(protocol)
			encoded, ok := strings.CutPrefix(protocol, websocketTokenPrefix)
			if !ok {
				rest = append(rest, protocol)
				continue
			}
			decoded, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil || !utf8.Valid(decoded) || token != "" {
				return "", false
			}
			token = string(decoded)
		}
	}
	// A server has to answer with one of the protocols, so one must remain.
	if token == "" || len(rest) == 0 {
		return "", false
	}
	r.Header.Set("Sec-WebSocket-Protocol", strings.Join(rest, ","))
	return token, true
}
