package archive

import (
	"errors"
	"strings"

	"github.com/bodgit/sevenzip"
	"github.com/klauspost/compress/zstd"
	"github.com/nwaples/rardecode/v2"
	fastxz "github.com/therootcompany/xz"
	"github.com/ulikunitz/xz/lzma"

	"rastel/scanners/archive/disk"
)

var (
	errPanic       = errors.New("decoder panicked")
	errDictionary  = errors.New("dictionary is larger than the limit")
	errUnsupported = errors.New("not supported")
	errEncrypted   = errors.New("encrypted")
	errVolume      = errors.New("continues in another volume")
	errTooMany     = errors.New("more than the limit")
	errCorrupt     = errors.New("damaged")
	errChecksum    = errors.New("checksum or size does not match")
)

// kinds says which check an error of a decoder comes to; what is not in it is damage.
var kinds = []struct {
	check  string
	errors []error
}{
	{encrypted, []error{errEncrypted, disk.ErrEncrypted, rardecode.ErrArchiveEncrypted, rardecode.ErrArchivedFileEncrypted,
		rardecode.ErrBadPassword, rardecode.ErrUnknownEncryptMethod}},
	{ambiguous, []error{disk.ErrAmbiguous}},
	{multivolume, []error{errVolume, rardecode.ErrMultiVolume, rardecode.ErrBadVolumeNumber, rardecode.ErrInvalidFileBlock}},
	{limit, []error{errDictionary, disk.ErrLimit, errTooMany, rardecode.ErrDictionaryTooLarge, fastxz.ErrMemlimit,
		zstd.ErrWindowSizeExceeded, zstd.ErrDecoderSizeExceeded}},
	{unsupported, []error{errUnsupported, disk.ErrUnsupported, rardecode.ErrUnsupportedDecoder, rardecode.ErrUnknownDecoder,
		rardecode.ErrMultipleDecoders, rardecode.ErrUnknownVersion, rardecode.ErrUnknownFilter,
		fastxz.ErrOptions, fastxz.ErrUnsupportedCheck, zstd.ErrUnknownDictionary}},
}

// checkOf is the check that an error of a decoder comes to.
func checkOf(err error) string {
	for _, k := range kinds {
		for _, e := range k.errors {
			if errors.Is(err, e) {
				return k.check
			}
		}
	}
	var sz *sevenzip.ReadError
	if errors.As(err, &sz) && sz.Encrypted {
		return encrypted
	}
	var dict *lzma.ErrDictSize
	if errors.As(err, &dict) {
		return limit
	}
	// sevenzip has no sentinel for it.
	if strings.Contains(err.Error(), "unsupported compression algorithm") {
		return unsupported
	}
	return damaged
}
