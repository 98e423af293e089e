package blob

// Lengths, for tests that cut stored messages.
const (
	HeadLen  = headLen
	ChunkLen = chunkLen + tagLen
	TailLen  = tailLen
)

// SetStep has step called before each step that changes the directory.
func (d *Dir) SetStep(step func(name string)) { d.step = step }
