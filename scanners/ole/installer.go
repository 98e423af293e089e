package ole

import "strings"

// What the names of streams in installers (MSI) are made of: two digits of base 64 a character, or
// one, and a mark for tables of the database. Windows has no documentation of it; what msitools and
// 7-Zip write and read agrees.
const (
	msiPair  = 0x3800
	msiOne   = 0x4800
	msiTable = 0x4840

	msiDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
)

// ofInstaller reports whether a stream has such a name.
func ofInstaller(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return r >= msiPair && r <= msiTable })
}

// installerName decodes the name of a stream.
func installerName(name string) (decoded string, table bool) {
	var b strings.Builder
	for i, r := range name {
		switch {
		case i == 0 && r == msiTable:
			table = true
		case r >= msiPair && r < msiOne:
			b.WriteByte(msiDigits[(r-msiPair)&0x3f])
			b.WriteByte(msiDigits[(r-msiPair)>>6])
		case r >= msiOne && r < msiTable:
			b.WriteByte(msiDigits[r-msiOne])
		default:
			b.WriteRune(r)
		}
	}
	return b.String(), table
}

// installerStream yields a stream of an installer: cabinets, and what its tables keep in streams,
// which are programs and scripts that it runs. Of the tables themselves one has all the text of the
// others, and so the scripts that are in a table.
func (f *file) installerStream(n *node) error {
	name, table := installerName(n.name)
	if n.size == 0 || table && name != "_StringData" {
		return nil
	}
	names := []string{name}
	if t, key, ok := strings.Cut(name, "."); ok && !table && (t == "Binary" || t == "Icon") && key != "" {
		names = append(names, key) // its key in the table
	}
	return f.member(names, "", f.c.content(n))
}
