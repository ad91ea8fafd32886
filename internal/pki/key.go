package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/strake-io/strake/internal/atomicfile"
)

// OpenKey reads the private key in a file, PEM of PKCS #8, or makes one on the curve
// P-256 and keeps it there, readable by its owner only.
func OpenKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		key, err := decodeKey(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if data, err = encodeKey(key); err != nil {
		return nil, err
	}
	return key, atomicfile.Write(path, data, 0o600)
}
