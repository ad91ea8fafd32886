package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// serve answers HTTP until SIGTERM, and TCP and UDP echo where asked.
//
//	/            hostname, path, version
//	/env/NAME    one variable
//	/healthz     200, or 500 while the file of -unhealthy-file exists
//	/files/PATH  a file of the container
//	/exit?code=3 ends the process
//	/slow?for=2s answers late
func serve(args []string) int {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	port := flags.String("port", envOr("PORT", "80"), "HTTP port")
	tcp := flags.String("tcp", "", "TCP echo port")
	udp := flags.String("udp", "", "UDP echo port")
	delay := flags.Duration("delay", 0, "wait before listening")
	linger := flags.Duration("linger", 0, "serve on for this long after SIGTERM")
	unhealthy := flags.String("unhealthy-file", "/tmp/unhealthy", "file that makes /healthz fail")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	time.Sleep(*delay)

	host, _ := os.Hostname()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		remote, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "host=%s path=%s version=%s from=%s\n", host, r.URL.Path, os.Getenv("VERSION"), remote)
	})
	mux.HandleFunc("/env/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, os.Getenv(strings.TrimPrefix(r.URL.Path, "/env/")))
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(*unhealthy); err == nil {
			http.Error(w, "unhealthy", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/files/", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "/"+strings.TrimPrefix(r.URL.Path, "/files/"))
	})
	mux.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) {
		code := 0
		fmt.Sscanf(r.URL.Query().Get("code"), "%d", &code)
		os.Exit(code)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.URL.Query().Get("for"))
		time.Sleep(d)
		fmt.Fprintln(w, "done")
	})
	server := &http.Server{Addr: ":" + *port, Handler: mux}
	if *tcp != "" {
		if err := echoTCP(":" + *tcp); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if *udp != "" {
		if err := echoUDP(":" + *udp); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	listener, err := net.Listen("tcp", server.Addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("serving on", listener.Addr(), "version", os.Getenv("VERSION"))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		fmt.Fprintln(os.Stderr, err)
		return 1
	case <-ctx.Done():
	}
	fmt.Println("stopping")
	time.Sleep(*linger)
	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(closing); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return 1
	}
	return 0
}

func echoTCP(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return nil
}

// echoUDP answers each datagram with the host's name, a space and what came.
func echoUDP(addr string) error {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append([]byte(host+" "), buf[:n]...), from)
		}
	}()
	return nil
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
