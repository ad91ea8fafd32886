package nodeproxy

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// writeError answers with a Status.
func writeError(w http.ResponseWriter, err error) {
	var api apierrors.APIStatus
	if !errors.As(err, &api) {
		api = apierrors.NewInternalError(err)
	}
	status := api.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	code := int(status.Code)
	if code == 0 {
		code = http.StatusInternalServerError
	}
	b, err := json.Marshal(&status)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(b, '\n'))
}

// maxMessage of a kubelet's error that is handed on.
const maxMessage = 50000

// logStatus makes an API error of a kubelet's plain one.
func logStatus(response *http.Response) error {
	if response.StatusCode >= 200 && response.StatusCode <= 206 {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxMessage))
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	message := trimNewline(string(body))
	switch response.StatusCode {
	case http.StatusInternalServerError:
		return apierrors.NewInternalError(errors.New(message))
	case http.StatusBadRequest:
		return apierrors.NewBadRequest(message)
	}
	return apierrors.NewGenericServerResponse(response.StatusCode, "get", schema.GroupResource{Resource: "pods/log"}, "", message, 0, false)
}

func trimNewline(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}
