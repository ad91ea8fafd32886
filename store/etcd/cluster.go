package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// Cluster makes the embedded member one of several, which keep the data together: three
// go on when one is lost, five when two are. Reads then cost a round to a majority.
type Cluster struct {
	// Name of this member, unlike those of the others. Required.
	Name string
	// PeerURL is where the others reach this member, such as https://10.0.0.1:2380.
	// Required. Where it changes, the member tells the others.
	PeerURL string
	// ListenURL is where it listens for them, such as https://0.0.0.0:2380. Default
	// PeerURL.
	ListenURL string
	// Members are the PeerURLs of all members by name, this one's with them: what the
	// founders of a cluster agree on, or what [Store.AddMember] says to one that
	// joins. It is read where DataDir is empty, and ignored later. Default: this
	// member alone, which others may join.
	Members map[string]string
	// Join says that the others run, and have added this member. It serves once it
	// has all that they have.
	Join bool
	// TLS between members, on both sides. Required for https URLs.
	TLS PeerTLS
	// KeepEntries is how many writes the others may miss and still catch up by the log,
	// which is in memory, instead of by a copy of the whole database. Default 5000.
	KeepEntries int
}

// PeerTLS are PEM files. Whoever has a certificate of the CA may read and change
// everything: let it sign for members alone. Files may be replaced while a member runs.
type PeerTLS struct{ CAFile, CertFile, KeyFile string }

// Of several members, times are etcd's own defaults: a network lies between them.
const (
	clusterTickMillis     = 100
	clusterElectionMillis = 1000
	// clusterKeepEntries is etcd's default: a member that was away for a moment
	// catches up by the log, not by a copy of the database.
	clusterKeepEntries = 5000
	// promoteAgain is how often a member that joined asks to have a vote, until it
	// has what the others have.
	promoteAgain = 100 * time.Millisecond
)

func (c *Cluster) validate() error {
	if c == nil {
		return nil
	}
	if c.Name == "" || strings.ContainsAny(c.Name, "=,") {
		return fmt.Errorf("store/etcd: Config.Cluster.Name %q: want a name without '=' and ','", c.Name)
	}
	if c.KeepEntries < 0 {
		return fmt.Errorf("store/etcd: Config.Cluster.KeepEntries %d is negative", c.KeepEntries)
	}
	for field, text := range map[string]string{"PeerURL": c.PeerURL, "ListenURL": c.listen()} {
		u, ok := peerURL(text)
		if !ok {
			return fmt.Errorf("store/etcd: Config.Cluster.%s %q: want a URL such as https://10.0.0.1:2380", field, text)
		}
		if u.Scheme == "https" && (c.TLS.CAFile == "" || c.TLS.CertFile == "" || c.TLS.KeyFile == "") {
			return errors.New("store/etcd: Config.Cluster.TLS is required for https")
		}
	}
	if own, has := c.Members[c.Name]; len(c.Members) > 0 && (!has || own != c.PeerURL) {
		return fmt.Errorf("store/etcd: Config.Cluster.Members does not have this member, %s at %s", c.Name, c.PeerURL)
	}
	if c.Join && len(c.Members) < 2 {
		return errors.New("store/etcd: Config.Cluster.Join needs the other Members")
	}
	return nil
}

// peerURL reads the URL that a member is reached at.
func peerURL(text string) (u *url.URL, ok bool) {
	u, err := url.Parse(text)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Port() != "" && u.Path == ""
}

func (c *Cluster) listen() string {
	if c.ListenURL != "" {
		return c.ListenURL
	}
	return c.PeerURL
}

// configure makes the settings of a lone member those of one of several.
func (c *Cluster) configure(to *embed.Config) error {
	listen, err := url.Parse(c.listen())
	if err != nil {
		return err
	}
	peer, err := url.Parse(c.PeerURL)
	if err != nil {
		return err
	}
	to.Name = c.Name
	to.TickMs, to.ElectionMs = clusterTickMillis, clusterElectionMillis
	to.SnapshotCatchUpEntries = clusterKeepEntries
	if c.KeepEntries > 0 {
		to.SnapshotCatchUpEntries = uint64(c.KeepEntries)
		to.SnapshotCount = min(to.SnapshotCount, 2*to.SnapshotCatchUpEntries)
	}
	to.ListenPeerUrls, to.AdvertisePeerUrls = []url.URL{*listen}, []url.URL{*peer}
	to.InitialCluster = initial(c.members())
	if c.Join {
		to.ClusterState = embed.ClusterStateFlagExisting
	}
	if c.TLS.CertFile != "" {
		to.PeerTLSInfo = transport.TLSInfo{
			TrustedCAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ClientCertAuth: true,
		}
	}
	return nil
}

func (c *Cluster) members() map[string]string {
	if len(c.Members) > 0 {
		return c.Members
	}
	return map[string]string{c.Name: c.PeerURL}
}

// initial is a cluster in etcd's words: "a=https://10.0.0.1:2380,b=...".
func initial(members map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		out = append(out, name+"="+members[name])
	}
	return strings.Join(out, ",")
}

// settle brings a member that has started to where it may serve: with a vote, and with
// the URL that it has now.
func (c *Cluster) settle(ctx context.Context, member *embed.Etcd, client *clientv3.Client) error {
	id := uint64(member.Server.MemberID())
	for member.Server.IsLearner() {
		// It fails until this member has caught up, or while there is no leader.
		_, err := client.MemberPromote(ctx, id)
		if err == nil || errors.Is(rpctypes.Error(err), rpctypes.ErrMemberNotLearner) {
			break
		}
		select {
		case <-time.After(promoteAgain):
		case err := <-member.Err():
			return err
		case <-member.Server.StopNotify():
			return errors.New("it stopped before it had a vote")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	self := member.Server.Cluster().Member(member.Server.MemberID())
	if self == nil || slices.Equal(self.PeerURLs, []string{c.PeerURL}) {
		return nil
	}
	_, err := client.MemberUpdate(ctx, id, []string{c.PeerURL})
	return err
}

// mustBeOneOf refuses to serve the data of one of several members as if it were alone,
// which would wait for the others for ever.
func mustBeOneOf(member *embed.Etcd, cluster *Cluster) error {
	n := len(member.Server.Cluster().Members())
	if cluster == nil && n > 1 {
		return fmt.Errorf("the data directory is that of one of %d members: Config.Cluster says where the others are reached", n)
	}
	return nil
}
