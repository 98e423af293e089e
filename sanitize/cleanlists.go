package sanitize

// cleanElements are the elements that a page written anew may have: those of text, tables, lists and
// pictures, whose content all parsers read alike. None of them is read as raw text, takes the parser
// into SVG or MathML, or is closed by a rule of its own; so what is text here is text there.
var cleanElements = union(
	`a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del details
	dfn dir div dl dt em fieldset figcaption figure font footer h1 h2 h3 h4 h5 h6 header hgroup hr i img ins kbd label legend
	li main map area mark menu nav nobr ol p picture pre q rp rt ruby s samp section small source span strike strong sub
	summary sup table tbody td tfoot th thead time tr tt u ul var wbr`,
)

var (
	// voidElements have no content and no end tag (HTML, section 13.1.2).
	voidElements = set("area br col hr img source wbr")
	// formatElements are opened again by a parser where they were left open (HTML, section 13.2.4.3).
	formatElements = set("a b big code em font i nobr s small strike strong tt u")
	// plainElements are neither these nor special: an end tag of one does not close what is.
	plainElements = set("abbr acronym bdi bdo cite del dfn ins kbd label legend map mark picture q rp rt ruby samp span sub sup time var")
	// closesParagraph are the elements before which an open paragraph ends (HTML, section 13.2.6.4.7).
	closesParagraph = set(`address article aside blockquote center details dir div dl dd dt fieldset figcaption figure footer h1 h2 h3
		h4 h5 h6 header hgroup hr li main menu nav ol p pre section summary table ul`)
	// impliedEnds are the elements whose end tag may be left out. They are not opened again.
	impliedEnds = set("dd dt li p rp rt tbody td tfoot th thead tr caption colgroup")
	// sameElements are others that a parser, or the eye, takes for one of ours.
	sameElements = map[string]string{"image": "img", "xmp": "pre", "listing": "pre", "plaintext": "pre"}
	// silentElements hold raw text that is not shown.
	silentElements = set("script iframe noembed noframes title")
)

// cleanAttrs are the attributes that any element may have.
var cleanAttrs = set(`align aria-hidden aria-label aria-level aria-labelledby aria-describedby bgcolor background border bordercolor
	cellpadding cellspacing class clear color dir face height hidden hspace id lang nowrap noshade role size start style summary title type
	valign value vspace width`)

// cleanElementAttrs are more of them for some elements.
var cleanElementAttrs = map[string]map[string]bool{
	"a":        set("href name target"),
	"area":     set("href alt shape coords target"),
	"img":      set("src srcset sizes alt usemap longdesc"),
	"source":   set("srcset sizes media"),
	"map":      set("name"),
	"td":       set("colspan rowspan abbr scope headers axis char charoff"),
	"th":       set("colspan rowspan abbr scope headers axis char charoff"),
	"table":    set("rules frame"),
	"col":      set("span char charoff"),
	"colgroup": set("span char charoff"),
	"ol":       set("reversed compact"),
	"ul":       set("compact"),
	"time":     set("datetime"),
	"del":      set("datetime"),
	"ins":      set("datetime"),
	"details":  set("open"),
	"body":     set("text link vlink alink topmargin leftmargin rightmargin bottommargin marginwidth marginheight"),
	"style":    set("media"),
}

// leavesSVG are the elements that end a drawing (HTML, section 13.2.6.5).
var leavesSVG = set(`b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu
	meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var`)

var (
	tableParts = set("caption colgroup col tbody thead tfoot tr td th")
	// barriers are the elements that an end tag, or an implied one, does not look beyond.
	barriers = set("table td th caption")
)
