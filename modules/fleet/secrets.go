package fleet

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"falcon/common/conf"
)

// secretsFile is in the data folder, for its owner alone: what the daemons of one process
// share and no file of an operator says.
const secretsFile = "secrets.json"

// secrets is its content.
type secrets struct {
	// AckSecret signs the links in messages by which people acknowledge.
	AckSecret string `json:"ack_secret"`
}

// secrets reads the secrets of the data folder, makes those that are missing, and wires
// them into the sections that name none.
func (f *Fleet) secrets() error {
	file := filepath.Join(f.cfg.Data, secretsFile)
	// What a later release keeps beside ours stays.
	kept := map[string]any{}
	var s secrets
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("data: read %s: %w", file, err)
	default:
		if err := errors.Join(json.Unmarshal(b, &kept), json.Unmarshal(b, &s)); err != nil {
			return fmt.Errorf("data: %s is no JSON object of secrets (%w); without it they are made anew, and links in messages that were sent end", file, err)
		}
	}
	if s.AckSecret == "" {
		s.AckSecret = rand.Text()
		kept["ack_secret"] = s.AckSecret
		if b, err = json.MarshalIndent(kept, "", "  "); err == nil {
			err = writePrivate(file, append(b, '\n'))
		}
		if err != nil {
			return fmt.Errorf("data: write %s: %w", file, err)
		}
	}
	if f.cfg.Transfer.Ack.Secret == "" {
		f.cfg.Transfer.Ack.Secret, f.cfg.Alarm.Ack.Secret = conf.Secret(s.AckSecret), conf.Secret(s.AckSecret)
		f.cfg = f.cfg.Wired()
	}
	return nil
}

// writePrivate writes a file that only its owner reads, whole or not at all.
func writePrivate(file string, b []byte) error {
	tmp := file + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
