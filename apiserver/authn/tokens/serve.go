package tokens

import "net/http"

// ServeHTTP answers /.well-known/openid-configuration and /openid/v1/jwks, by which
// others check the tokens. It implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var data []byte
	var err error
	media := "application/json"
	switch r.URL.Path {
	case "/.well-known/openid-configuration", "/.well-known/openid-configuration/":
		data, err = i.Discovery()
	case KeysPath, KeysPath + "/":
		data, err = i.Keys()
		media = "application/jwk-set+json"
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "public, max-age=3600")
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(data)
}
