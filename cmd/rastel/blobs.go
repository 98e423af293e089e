package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/scanners"
)

// blobs are the messages of the quarantine, wherever they are.
type blobs interface {
	quarantine.Blobs
	// Rekey seals a message with the first key, if it is not yet; done says that it did. It returns
	// ErrNotFound if the message was removed.
	Rekey(ctx context.Context, id string) (done bool, err error)
}

// openBlobs opens them as the configuration says.
func openBlobs(cfg quarantine.Config) (blobs, error) {
	keys, err := blobKeys(cfg.Encryption)
	if err != nil {
		return nil, err
	}
	if cfg.S3.Enabled() {
		return openBucket(cfg.S3, keys)
	}
	return blob.Open(cfg.BlobDir(), blob.Options{Keys: keys})
}

// openBucket opens the bucket with the credentials of the file, or of the environment.
func openBucket(cfg quarantine.S3Config, keys *blob.Keys) (blobs, error) {
	opt := blob.S3Options{
		Config: cfg, Keys: keys,
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), Session: os.Getenv("AWS_SESSION_TOKEN"),
	}
	if cfg.CredentialsFile != "" {
		text, err := scanners.ReadSecrets(cfg.CredentialsFile)
		if err != nil {
			return nil, fmt.Errorf("quarantine.s3.credentials_file: %w", err)
		}
		lines := strings.Fields(text)
		if len(lines) != 2 {
			return nil, fmt.Errorf("quarantine.s3.credentials_file: %s has not two lines, the access key and the secret key", cfg.CredentialsFile)
		}
		opt.AccessKey, opt.SecretKey, opt.Session = lines[0], lines[1], ""
	}
	return blob.OpenS3(opt)
}

// blobKeys reads the keys that messages are sealed with, nil if they are not.
func blobKeys(cfg quarantine.EncryptionConfig) (*blob.Keys, error) {
	if cfg.KeyFile == "" {
		return nil, nil
	}
	text, err := scanners.ReadSecrets(cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("quarantine.encryption.key_file: %w", err)
	}
	keys, err := blob.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("quarantine.encryption.key_file: %s: %w", cfg.KeyFile, err)
	}
	return keys, nil
}

// maxRekeyErrors is how many messages are named that could not be sealed anew.
const maxRekeyErrors = 20

// rekey seals all messages with the first key that are not yet. It works on the store itself, beside a
// server that runs or not.
func (k *call) rekey(ctx context.Context, cfg quarantine.Config, args []string) int {
	if len(args) > 0 {
		return k.usagef("quarantine rekey takes no ID: it is for all messages")
	}
	if cfg.Encryption.KeyFile == "" {
		return k.usagef("quarantine.encryption.key_file is not set: there is no key to seal messages with")
	}
	if !cfg.S3.Enabled() {
		if err := ownedByUs(cfg.BlobDir()); err != nil {
			return k.fail(exitActed, err)
		}
	}
	b, err := openBlobs(cfg)
	if err != nil {
		return k.fail(exitActed, err)
	}
	err = k.rekeyAll(ctx, b)
	if err := errors.Join(err, b.Close()); err != nil {
		return k.fail(exitActed, err)
	}
	return exitOK
}

// rekeyAll goes on after a message that cannot be read: that is no reason to leave others under an old key.
func (k *call) rekeyAll(ctx context.Context, b blobs) error {
	var sealed, kept, failed int
	err := b.Walk(ctx, func(id string, _ time.Time) error {
		done, err := b.Rekey(ctx, id)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, quarantine.ErrNotFound): // removed meanwhile
		case err != nil:
			if failed++; failed <= maxRekeyErrors {
				fmt.Fprintf(k.errOut, "%s: %v\n", id, err)
			}
		case done:
			sealed++
		default:
			kept++
		}
		return nil
	})
	fmt.Fprintf(k.out, "%d sealed with the first key, %d were already\n", sealed, kept)
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d could not be: leave their keys in the key file", failed))
	}
	return err
}

// ownedByUs refuses to make files, of mode 600, that the server could not read.
func ownedByUs(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (uid %d): run this as that one, who runs the server", dir, st.Uid)
	}
	return nil
}
