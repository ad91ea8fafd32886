package apiserver

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/apiserver/codec"
)

// websocketWanted says whether a request asks to go on as a WebSocket.
func websocketWanted(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

// The bounds of a watch over a WebSocket: nothing is expected from the client, and
// it has this long to take an event.
const (
	maxWatchInput    = 4 << 10
	watchInputBuffer = 1 << 10
	watchSendTimeout = time.Minute
)

// overWebsocket sends each event in a message of its own, text for JSON. serve runs
// until the watch or the connection ends.
func (st *stream) overWebsocket(ctx context.Context, serve func(ctx context.Context)) error {
	upgrader := websocket.Upgrader{
		ReadBufferSize: watchInputBuffer,
		// Who may watch has been decided by then, and no cookie decides that.
		CheckOrigin: func(*http.Request) bool { return true },
		Error:       func(http.ResponseWriter, *http.Request, int, error) {},
	}
	conn, err := upgrader.Upgrade(st.w, st.r, http.Header{"Content-Type": {st.out.Media.String()}})
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn.SetReadLimit(maxWatchInput)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		defer cancel()
		// What comes is not looked at; the end of it ends the watch.
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	}()
	kind := websocket.TextMessage
	if st.out.Media == codec.Protobuf {
		kind = websocket.BinaryMessage
	}
	st.send = func(events []byte) error {
		start := 0
		for _, end := range st.ends {
			event := events[start:end]
			if kind == websocket.BinaryMessage {
				// The message is the frame: the length in front is for streams.
				event = event[codec.FrameHeader:]
			}
			if err := conn.SetWriteDeadline(time.Now().Add(watchSendTimeout)); err != nil {
				return err
			}
			if err := conn.WriteMessage(kind, event); err != nil {
				return err
			}
			start = end
		}
		return nil
	}
	serve(ctx)
	// It may be broken already.
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	_ = conn.Close()
	<-reading
	return nil
}
