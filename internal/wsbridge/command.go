// Package wsbridge is the WebSocket side of exec, attach and port-forward in the
// forms that current kubectl speaks: the five channels of v5.channel.k8s.io, and
// SPDY tunnelled in binary messages. The API server puts it before kubelets that
// speak SPDY only; the kubelet's own server uses it directly.
package wsbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

const (
	idleTimeout  = 4 * time.Hour
	writeTimeout = 10 * time.Second
)

// Size of a terminal in characters.
type Size struct{ Width, Height uint16 }

// Wanted says which streams a client asks for.
type Wanted struct{ Stdin, Stdout, Stderr, TTY bool }

// Streams of a client; those that it did not ask for are nil.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Resize delivers sizes until it is closed.
	Resize <-chan Size
}

// IsCommand says whether a request wants [ServeCommand].
func IsCommand(req *http.Request) bool {
	return wsstream.IsWebSocketRequestWithStreamCloseProtocol(req)
}

// ServeCommand upgrades the connection, calls run with the client's streams, and
// tells the client how it ended: nil is success, an *ExitError a status other
// than 0, an API status error itself, all else an internal error. An error of
// the upgrade has been answered when this returns it.
func ServeCommand(w http.ResponseWriter, req *http.Request, wanted Wanted, run func(context.Context, Streams) error) error {
	channels := make([]wsstream.ChannelType, 5)
	channels[remotecommand.StreamStdIn] = channel(wanted.Stdin, wsstream.ReadChannel)
	channels[remotecommand.StreamStdOut] = channel(wanted.Stdout, wsstream.WriteChannel)
	channels[remotecommand.StreamStdErr] = channel(wanted.Stderr, wsstream.WriteChannel)
	channels[remotecommand.StreamErr] = wsstream.WriteChannel
	channels[remotecommand.StreamResize] = wsstream.ReadChannel
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommand.StreamProtocolV5Name: {Binary: true, Channels: channels},
	})
	conn.SetIdleTimeout(idleTimeout)
	// The library would log the end of every connection as an error.
	_, open, err := conn.Open(hijacker{w}, req.WithContext(logr.NewContext(req.Context(), logr.Discard())))
	if err != nil {
		return fmt.Errorf("upgrading to a WebSocket: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()

	// An empty message tells the client that the connection stands.
	hello := remotecommand.StreamErr
	switch {
	case wanted.Stdout:
		hello = remotecommand.StreamStdOut
	case wanted.Stderr:
		hello = remotecommand.StreamStdErr
	}
	if _, err := open[hello].Write(nil); err != nil {
		return err
	}

	var streams Streams
	if wanted.Stdin {
		streams.Stdin = open[remotecommand.StreamStdIn]
	}
	if wanted.Stdout {
		streams.Stdout = open[remotecommand.StreamStdOut]
	}
	if wanted.Stderr {
		streams.Stderr = open[remotecommand.StreamStdErr]
	}
	sizes := make(chan Size)
	streams.Resize = sizes
	wg.Go(func() {
		defer close(sizes)
		decoder := json.NewDecoder(open[remotecommand.StreamResize])
		for {
			var size Size
			if decoder.Decode(&size) != nil {
				return
			}
			select {
			case sizes <- size:
			case <-ctx.Done():
				return
			}
		}
	})

	status := StatusOf(run(ctx, streams))
	b, err := json.Marshal(status)
	if err != nil {
		return err
	}
	conn.SetWriteDeadline(writeTimeout)
	_, err = open[remotecommand.StreamErr].Write(b)
	return err
}

func channel(wanted bool, kind wsstream.ChannelType) wsstream.ChannelType {
	if wanted {
		return kind
	}
	return wsstream.IgnoreChannel
}

// ExitError says that a command ended with another status than 0.
type ExitError struct{ Code int }

func (e *ExitError) Error() string {
	return "command terminated with exit code " + strconv.Itoa(e.Code)
}

// StatusOf is what a client of exec or attach is told of an end.
func StatusOf(err error) metav1.Status {
	if err == nil {
		return metav1.Status{Status: metav1.StatusSuccess}
	}
	var exit *ExitError
	if errors.As(err, &exit) {
		return metav1.Status{
			Status: metav1.StatusFailure,
			Reason: remotecommand.NonZeroExitCodeReason,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{
				Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(exit.Code),
			}}},
			Message: "command terminated with non-zero exit code: " + exit.Error(),
		}
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status()
	}
	return apierrors.NewInternalError(err).ErrStatus
}
