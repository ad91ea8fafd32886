package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
)

// restoredAhead is how far revisions jump at a restore: further than a cluster went on
// after its backup was made, so that no revision means two things. What is older counts
// as compacted: who watched starts over.
const restoredAhead = 1_000_000_000

// Snapshot writes a backup of the whole store, in etcd's format with a checksum at its
// end, as of one revision. It is what [Restore] and `etcdutl snapshot restore` take.
func (s *Store) Snapshot(ctx context.Context, to io.Writer) error {
	b, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	ctx, done := s.bounded(ctx, b)
	defer done()
	from, err := b.client.Snapshot(ctx)
	if err != nil {
		return s.readError(ctx, "taking a snapshot", err)
	}
	defer from.Close()
	if _, err := io.Copy(to, from); err != nil {
		return s.readError(ctx, "taking a snapshot", err)
	}
	return nil
}

// Restore makes the data directory of the first member of a new cluster from a backup;
// dir must not exist or be empty. cluster is as in [Config], nil for a lone member; others
// join it then. Revisions go on far behind those of the backup, and all before counts as
// compacted.
func Restore(file, dir string, cluster *Cluster, log logr.Logger) error {
	if err := cluster.validate(); err != nil {
		return err
	}
	switch entries, err := os.ReadDir(dir); {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("store/etcd: restoring to %s: it is not empty", dir)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("store/etcd: restoring to %s: %w", dir, err)
	case err == nil:
		// etcd wants to make it.
		if err := os.Remove(dir); err != nil {
			return fmt.Errorf("store/etcd: restoring to %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("store/etcd: restoring to %s: %w", dir, err)
	}
	name, url := "default", "http://localhost:2380"
	if cluster != nil {
		name, url = cluster.Name, cluster.PeerURL
	}
	err := snapshot.NewV3(zapLogger(log)).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, Name: name, OutputDataDir: dir, PeerURLs: []string{url},
		InitialCluster: name + "=" + url, InitialClusterToken: "etcd-cluster",
		RevisionBump: restoredAhead, MarkCompacted: true,
	})
	if err != nil {
		return fmt.Errorf("store/etcd: restoring %s: %w", file, err)
	}
	return nil
}
