package lzh

// Of -lh1-: literals and lengths of 3 to 60, and a tree of them whose sums are halved when they are large.
const (
	adaptiveMatch   = 60
	adaptiveSymbols = literals - 2 + adaptiveMatch
	adaptiveNodes   = 2*adaptiveSymbols - 1
	adaptiveRoot    = adaptiveNodes - 1
	adaptiveMost    = 1 << 15
	pointerLow      = 6 // bits of a distance that stand as they are
)

// An adaptive decodes -lh1-: a Huffman tree that both sides keep in order by what came so far, and
// distances whose upper six bits are in a code that is always the same.
type adaptive struct {
	freq   [adaptiveNodes + 1]int
	parent [adaptiveNodes + adaptiveSymbols]int // of nodes, then where the leaf of a symbol is
	child  [adaptiveNodes]int                   // the first of two, or a symbol and adaptiveNodes

	pointers huffman
}

// pointerCounts are how many codes of a distance there are of each length.
var pointerCounts = []struct{ length, n int }{{3, 1}, {4, 3}, {5, 8}, {6, 12}, {7, 24}, {8, 16}}

func newAdaptive() *adaptive {
	a := &adaptive{}
	for i := range adaptiveSymbols {
		a.freq[i], a.child[i], a.parent[i+adaptiveNodes] = 1, i+adaptiveNodes, i
	}
	for i, j := 0, adaptiveSymbols; j < adaptiveNodes; i, j = i+2, j+1 {
		a.freq[j], a.child[j] = a.freq[i]+a.freq[i+1], i
		a.parent[i], a.parent[i+1] = j, j
	}
	a.freq[adaptiveNodes] = 1<<16 - 1 // none is more frequent
	a.parent[adaptiveRoot] = 0
	var lengths []uint8
	for _, c := range pointerCounts {
		for range c.n {
			lengths = append(lengths, uint8(c.length))
		}
	}
	if err := a.pointers.build(lengths); err != nil {
		panic(err) // the table is ours
	}
	return a
}

func (a *adaptive) next(w *window) error {
	node := a.child[adaptiveRoot]
	for node < adaptiveNodes {
		node = a.child[node+w.bits.take(1)]
	}
	c := node - adaptiveNodes
	a.update(c)
	if c < literals {
		w.literal(byte(c))
		return nil
	}
	high, err := a.pointers.decode(&w.bits)
	if err != nil {
		return err
	}
	w.match(high<<pointerLow|w.bits.take(pointerLow), c-literals+minMatch)
	return nil
}

// update counts a symbol and keeps the nodes in the order of their frequency.
func (a *adaptive) update(symbol int) {
	if a.freq[adaptiveRoot] == adaptiveMost {
		a.rebuild()
	}
	for c := a.parent[symbol+adaptiveNodes]; ; {
		a.freq[c]++
		if k, l := a.freq[c], c+1; k > a.freq[l] {
			for k > a.freq[l+1] {
				l++
			}
			a.swap(c, l)
			c = l
		}
		if c == adaptiveRoot {
			return
		}
		c = a.parent[c]
	}
}

// swap exchanges two nodes with what is below them.
func (a *adaptive) swap(c, l int) {
	a.freq[c], a.freq[l] = a.freq[l], a.freq[c]
	a.child[c], a.child[l] = a.child[l], a.child[c]
	for _, n := range []int{c, l} {
		i := a.child[n]
		a.parent[i] = n
		if i < adaptiveNodes {
			a.parent[i+1] = n
		}
	}
}

// rebuild halves all frequencies and makes the tree anew.
func (a *adaptive) rebuild() {
	j := 0
	for i := range adaptiveNodes {
		if a.child[i] >= adaptiveNodes {
			a.freq[j], a.child[j] = (a.freq[i]+1)/2, a.child[i]
			j++
		}
	}
	for i, j := 0, adaptiveSymbols; j < adaptiveNodes; i, j = i+2, j+1 {
		f := a.freq[i] + a.freq[i+1]
		k := j
		for k > 0 && f < a.freq[k-1] {
			k--
		}
		copy(a.freq[k+1:j+1], a.freq[k:j])
		copy(a.child[k+1:j+1], a.child[k:j])
		a.freq[k], a.child[k] = f, i
	}
	for i := range adaptiveNodes {
		k := a.child[i]
		a.parent[k] = i
		if k < adaptiveNodes {
			a.parent[k+1] = i
		}
	}
}
