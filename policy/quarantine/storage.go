package quarantine

// EncryptionConfig says whether messages are sealed before they are stored. The index is not: it has the
// envelope, the subject and the findings.
type EncryptionConfig struct {
	// KeyFile has a key on each line, of 64 hexadecimal digits. The first seals, all open: to change keys put
	// the new one before the old, restart, run 'rastel quarantine rekey', and take the old one out. Whoever
	// loses the file loses the messages. Mode 600 or 640. Default: none, messages are not sealed.
	KeyFile string `yaml:"key_file"`
}
