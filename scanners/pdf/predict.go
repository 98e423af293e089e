package pdf

import "io"

// predict gives a reader that undoes a predictor (PDF 32000-1, 7.4.4.4).
func (p parms) predict(r io.Reader) (io.Reader, error) {
	if p.predictor < 2 {
		return r, nil
	}
	if p.colors < 1 || p.colors > 1<<16 || p.bits < 1 || p.bits > 32 || p.columns < 1 || p.columns > maxRow {
		return nil, errStream
	}
	size := (p.colors*p.bits*p.columns + 7) / 8
	if size > maxRow {
		return nil, errStream
	}
	pr := &predictReader{r: r, p: p, row: make([]byte, size), step: int(max(p.colors*p.bits/8, 1))}
	if p.predictor >= 10 {
		pr.above = make([]byte, size)
	}
	return pr, nil
}

// A predictReader undoes a predictor row by row.
type predictReader struct {
	r     io.Reader
	p     parms
	row   []byte
	above []byte // nil: a predictor of TIFF
	step  int    // bytes from a pixel to the next one
	out   []byte // not yet read
	err   error
}

func (pr *predictReader) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if len(pr.out) == 0 {
			if pr.err != nil {
				break
			}
			pr.next()
			continue
		}
		k := copy(b[n:], pr.out)
		pr.out = pr.out[k:]
		n += k
	}
	if n == 0 && len(b) > 0 {
		return 0, pr.err
	}
	return n, nil
}

// next reads a row; the last one may be shorter.
func (pr *predictReader) next() {
	kind := [1]byte{2}
	if pr.above != nil {
		pr.row, pr.above = pr.above, pr.row
		if _, pr.err = io.ReadFull(pr.r, kind[:]); pr.err != nil {
			return
		}
	}
	n, err := io.ReadFull(pr.r, pr.row)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	pr.err = err
	pr.out = pr.row[:n]
	if pr.above != nil {
		pr.png(kind[0], pr.out)
	} else {
		pr.tiff(pr.out)
	}
}

// png undoes the filter of a row (PNG 9.2).
func (pr *predictReader) png(kind byte, row []byte) {
	for i := range row {
		var left, corner byte
		if i >= pr.step {
			left, corner = row[i-pr.step], pr.above[i-pr.step]
		}
		switch kind {
		case 1:
			row[i] += left
		case 2:
			row[i] += pr.above[i]
		case 3:
			row[i] += byte((int(left) + int(pr.above[i])) / 2)
		case 4:
			row[i] += paeth(left, pr.above[i], corner)
		}
	}
}

func paeth(a, b, c byte) byte {
	p := int(a) + int(b) - int(c)
	da, db, dc := abs(p-int(a)), abs(p-int(b)), abs(p-int(c))
	switch {
	case da <= db && da <= dc:
		return a
	case db <= dc:
		return b
	}
	return c
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// tiff adds to each component the one before (TIFF 6.0, section 14).
func (pr *predictReader) tiff(row []byte) {
	switch bits := int(pr.p.bits); bits {
	case 8:
		for i := pr.step; i < len(row); i++ {
			row[i] += row[i-pr.step]
		}
	case 16:
		for i := pr.step; i+1 < len(row); i += 2 {
			v := uint16(row[i])<<8 + uint16(row[i+1]) + uint16(row[i-pr.step])<<8 + uint16(row[i-pr.step+1])
			row[i], row[i+1] = byte(v>>8), byte(v)
		}
	case 1, 2, 4:
		pr.tiffBits(row, bits)
	}
}

// tiffBits does so for components of less than a byte.
func (pr *predictReader) tiffBits(row []byte, bits int) {
	mask, per, colors := byte(1<<bits-1), 8/bits, int(pr.p.colors)
	get := func(i int) byte { return row[i/per] >> (8 - bits - i%per*bits) & mask }
	for i := colors; i < len(row)*per; i++ {
		shift := 8 - bits - i%per*bits
		v := (get(i) + get(i-colors)) & mask
		row[i/per] = row[i/per]&^(mask<<shift) | v<<shift
	}
}
