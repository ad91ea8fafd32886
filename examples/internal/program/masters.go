package program

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/strake-io/strake/internal/atomicfile"
	"github.com/strake-io/strake/internal/pki"
	"github.com/strake-io/strake/store/etcd"
)

// MasterFlags say how a master lives with others.
type MasterFlags struct {
	// PeerListen is where the other masters' etcd reaches this one's; "": it is alone.
	PeerListen string
	// Join is a file that another master wrote.
	Join string
	// Name of this master among them.
	Name string
	// Restore is a backup to begin with.
	Restore string
}

// AddMasters registers how a master lives with others.
func (f *MasterFlags) AddMasters(fs *pflag.FlagSet) {
	fs.StringVar(&f.PeerListen, "peer-listen", "", "address for the etcd of other masters, such as 10.0.0.1:2380: this master is one of several, or others may join it")
	fs.StringVar(&f.Join, "join", "", "file by which this master joins others; a master with --peer-listen writes one: master.join in its data directory")
	fs.StringVar(&f.Name, "master-name", "", "name of this master among several (default: the host name)")
	fs.StringVar(&f.Restore, "restore", "", "backup of etcd to begin with, where the data directory has no state so far")
}

func (f *MasterFlags) check(all *Flags) error {
	if f.PeerListen == "" {
		if f.Join != "" || f.Name != "" {
			return errors.New("--join and --master-name need --peer-listen, where the other masters reach this one")
		}
	} else if at, err := netip.ParseAddrPort(f.PeerListen); err != nil || at.Port() == 0 {
		return fmt.Errorf("--peer-listen %q: want an address and a port, such as 10.0.0.1:2380", f.PeerListen)
	}
	if (f.PeerListen != "" || f.Restore != "") && (all.Store != "etcd" || len(all.EtcdEndpoints) > 0) {
		return errors.New("--peer-listen and --restore are for the embedded etcd")
	}
	if f.Restore != "" && f.Join != "" {
		return errors.New("--restore begins a cluster, and --join enters one")
	}
	return nil
}

// shared is what all masters of a cluster have in common: below the data directory.
const shared = "pki"

// joinFile is what a master must have to join: the address of one, and the keys that
// all share. Whoever has it is an administrator.
type joinFile struct {
	Server string            `json:"server"`
	Files  map[string][]byte `json:"files"`
}

// maxJoinFile bounds what is read of one.
const maxJoinFile = 4 << 20

// WriteJoin writes the file by which other masters join the one at server.
func WriteJoin(path, dir, server string) error {
	join := joinFile{Server: server, Files: map[string][]byte{}}
	root := filepath.Join(dir, shared)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		join.Files[name], err = os.ReadFile(file)
		return err
	})
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(join, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}

// readJoin reads such a file.
func readJoin(path string) (*joinFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--join: %w", err)
	}
	defer file.Close()
	var join joinFile
	if err := json.NewDecoder(io.LimitReader(file, maxJoinFile)).Decode(&join); err != nil || join.Server == "" || len(join.Files) == 0 {
		return nil, fmt.Errorf("--join %s: it is no file that a master wrote", path)
	}
	for name := range join.Files {
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("--join %s: %q is no file of a master", path, name)
		}
	}
	return &join, nil
}

// AdoptCredentials takes over the keys of the cluster that a master joins, where its
// data directory has none.
func AdoptCredentials(f *Flags) error {
	root := filepath.Join(f.DataDir, shared)
	if f.Masters.Join == "" {
		return nil
	}
	if _, err := os.Stat(root); err == nil {
		return nil
	}
	join, err := readJoin(f.Masters.Join)
	if err != nil {
		return err
	}
	// All or nothing: half of them would be completed by others on the next start.
	half := root + ".half"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	for name, data := range join.Files {
		path := filepath.Join(half, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := atomicfile.Write(path, data, 0o600); err != nil {
			return err
		}
	}
	return os.Rename(half, root)
}

// cluster is the embedded etcd's place among several; nil: it is alone.
func (f *Flags) cluster(ctx context.Context) (*etcd.Cluster, error) {
	m := &f.Masters
	if m.PeerListen == "" {
		return nil, nil
	}
	listen, err := netip.ParseAddrPort(m.PeerListen)
	if err != nil {
		return nil, fmt.Errorf("--peer-listen: %w", err)
	}
	at := listen
	if listen.Addr().IsUnspecified() {
		if at = Advertise(listen); !at.IsValid() {
			return nil, errors.New("--peer-listen: this machine has no address that others can reach it by")
		}
	}
	name := m.Name
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("--master-name: %w", err)
		}
	}
	c := &etcd.Cluster{Name: name, PeerURL: "https://" + at.String(), ListenURL: "https://" + listen.String()}
	if c.TLS, err = peerTLS(f.DataDir, at.Addr()); err != nil {
		return nil, err
	}
	if m.Join == "" || hasState(f.etcdDir()) {
		return c, nil
	}
	join, err := readJoin(m.Join)
	if err != nil {
		return nil, err
	}
	c.Join = true
	c.Members, err = join.enter(ctx, name, c.PeerURL)
	return c, err
}

func (f *Flags) etcdDir() string { return filepath.Join(f.DataDir, "etcd") }

// hasState says that etcd has begun in a directory.
func hasState(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "member"))
	return err == nil
}

// peerTLS writes a certificate for the etcd of this master. All have theirs from one
// authority that signs no others.
func peerTLS(dir string, at netip.Addr) (etcd.PeerTLS, error) {
	ca, err := pki.Open(filepath.Join(dir, shared, "etcd"), "etcd-peer-ca", time.Now())
	if err != nil {
		return etcd.PeerTLS{}, err
	}
	cert, err := ca.Issue(pki.Request{CommonName: "etcd-peer", IPs: []net.IP{at.AsSlice(), net.IPv4(127, 0, 0, 1)}}, time.Now())
	if err != nil {
		return etcd.PeerTLS{}, err
	}
	certPEM, keyPEM, err := pki.EncodePEM(cert)
	if err != nil {
		return etcd.PeerTLS{}, err
	}
	own := filepath.Join(dir, "etcd-peer")
	if err := os.MkdirAll(own, 0o700); err != nil {
		return etcd.PeerTLS{}, err
	}
	files := etcd.PeerTLS{CAFile: filepath.Join(own, "ca.crt"), CertFile: filepath.Join(own, "peer.crt"), KeyFile: filepath.Join(own, "peer.key")}
	return files, errors.Join(
		atomicfile.Write(files.CAFile, ca.PEM(), 0o600), atomicfile.Write(files.CertFile, certPEM, 0o600), atomicfile.Write(files.KeyFile, keyPEM, 0o600))
}

// enter asks a running master to let one join, and returns all members by name.
func (j *joinFile) enter(ctx context.Context, name, peerURL string) (map[string]string, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(j.Files["ca.crt"]) {
		return nil, errors.New("--join: there is no certificate authority in the file")
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	// A name that is taken is found out before anything is changed.
	all, err := j.members(ctx, client, http.MethodGet, nil)
	if err != nil {
		return nil, err
	}
	if _, err := byName(all, name, peerURL); err != nil {
		return nil, err
	}
	body, err := json.Marshal(etcd.Join{PeerURL: peerURL})
	if err != nil {
		return nil, err
	}
	if all, err = j.members(ctx, client, http.MethodPost, body); err != nil {
		return nil, err
	}
	return byName(all, name, peerURL)
}

// members asks a master for all, or to let another in.
func (j *joinFile) members(ctx context.Context, client *http.Client, method string, body []byte) ([]etcd.Member, error) {
	r, err := http.NewRequestWithContext(ctx, method, j.Server+"/etcd/members", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("--join: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(j.Files["admin.token"])))
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("--join: %w", err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxJoinFile))
	if err != nil {
		return nil, fmt.Errorf("--join: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("--join: the master at %s answered %s: %s", j.Server, response.Status, bytes.TrimSpace(data))
	}
	var all []etcd.Member
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("--join: the master at %s answered what is no list of members: %w", j.Server, err)
	}
	return all, nil
}

// byName are the members' URLs by their names, of which the new one has none yet.
func byName(all []etcd.Member, name, peerURL string) (map[string]string, error) {
	members := map[string]string{}
	for _, m := range all {
		if len(m.PeerURLs) == 0 {
			continue
		}
		key := m.Name
		switch {
		case m.PeerURLs[0] == peerURL:
			key = name
		case key == name:
			return nil, fmt.Errorf("--join: there is a master named %s at %s: give another --master-name, or remove that one", name, m.PeerURLs[0])
		case key == "":
			key = "starting-" + m.ID
		}
		members[key] = m.PeerURLs[0]
	}
	return members, nil
}
