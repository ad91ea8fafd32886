package program

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/strake-io/strake/apiserver/audit"
)

// AuditFlags say what the API server records of requests, by upstream's names.
type AuditFlags struct {
	PolicyFile                 string
	LogPath                    string
	MaxAge, MaxBackup, MaxSize int
}

func (f *AuditFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.PolicyFile, "audit-policy-file", "", "policy (audit.k8s.io/v1) of what to record of requests; nothing without it")
	fs.StringVar(&f.LogPath, "audit-log-path", "", "file to record requests in; - is standard output")
	fs.IntVar(&f.MaxSize, "audit-log-maxsize", 100, "megabytes after which a new audit log is begun")
	fs.IntVar(&f.MaxBackup, "audit-log-maxbackup", 0, "how many old audit logs to keep; 0 is all")
	fs.IntVar(&f.MaxAge, "audit-log-maxage", 0, "days to keep old audit logs; 0 is for ever")
}

func (f *AuditFlags) check() error {
	if (f.PolicyFile == "") != (f.LogPath == "") {
		return errors.New("--audit-policy-file and --audit-log-path belong together")
	}
	if f.MaxAge < 0 || f.MaxBackup < 0 || f.MaxSize < 0 {
		return errors.New("--audit-log-maxage, --audit-log-maxbackup and --audit-log-maxsize must not be negative")
	}
	return nil
}

// Config reads the policy and opens the log. Files are made that only their owner reads.
func (f *AuditFlags) Config() (audit.Config, error) {
	if f.PolicyFile == "" {
		return audit.Config{}, nil
	}
	data, err := os.ReadFile(f.PolicyFile)
	if err != nil {
		return audit.Config{}, fmt.Errorf("--audit-policy-file: %w", err)
	}
	policy, err := audit.ParsePolicy(data)
	if err != nil {
		return audit.Config{}, fmt.Errorf("--audit-policy-file %s: %w", f.PolicyFile, err)
	}
	var to io.Writer = os.Stdout
	if f.LogPath != "-" {
		file, err := os.OpenFile(f.LogPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return audit.Config{}, fmt.Errorf("--audit-log-path: %w", err)
		}
		if err := file.Close(); err != nil {
			return audit.Config{}, fmt.Errorf("--audit-log-path: %w", err)
		}
		to = &lumberjack.Logger{Filename: f.LogPath, MaxSize: f.MaxSize, MaxBackups: f.MaxBackup, MaxAge: f.MaxAge}
	}
	return audit.Config{Policy: policy, Sinks: map[string]audit.Sink{"log": audit.NewLog(to)}}, nil
}
