package sanitize

import "strings"

// The allow-lists: what mail may consist of, whatever the mode. What a specification knows and
// these tables do not is unsafe; what no specification knows does nothing in any client.
//
// Sources: HTML (WHATWG, 2026) sections 4 and 16 with its obsolete features, SVG 1.1, 1.2 Tiny and 2,
// MathML 3 and Core, the CSS snapshot 2025, VML (ECMA-376 part 4, section 19) and what Microsoft
// Office writes (MS-OI29500, MS-OE376), WAI-ARIA 1.2, RDFa 1.1, and what the builders of
// newsletters leave behind.

// safeElements are the elements that do nothing but show something, in lower case and without
// the prefix of a namespace of XML.
var safeElements = union(
	// HTML, living. What input and its kin hold goes nowhere without a form.
	`html head title meta link base style body article section nav aside h1 h2 h3 h4 h5 h6 hgroup header footer address
	main search p hr pre blockquote ol ul menu li dl dt dd figure figcaption div a em strong small s cite q dfn abbr ruby
	rt rp data time code var samp kbd sub sup i b u mark bdi bdo span br wbr ins del picture source img video audio track
	map area table caption colgroup col tbody thead tfoot tr td th label input button select datalist optgroup option
	textarea output progress meter fieldset legend selectedcontent details summary dialog noscript template slot canvas`,
	// HTML, of old
	`acronym basefont big blink center comment dir font image listing marquee menuitem multicol nobr nextid noembed
	noframes noindex noiframe nolayer param rb rbc rtc spacer strike tt xmp xml`,
	// SVG
	`svg g defs desc metadata symbol use switch view path rect circle ellipse line polyline polygon text tspan tref
	textpath textarea tbreak altglyph altglyphdef altglyphitem glyphref glyph missing-glyph hkern vkern font-face
	font-face-src font-face-uri font-face-format font-face-name definition-src marker pattern hatch hatchpath mesh
	meshgradient meshpatch meshrow solidcolor lineargradient radialgradient stop clippath mask filter cursor color-profile
	feblend fecolormatrix fecomponenttransfer fecomposite feconvolvematrix fediffuselighting fedisplacementmap
	fedistantlight fedropshadow feflood fefunca fefuncb fefuncg fefuncr fegaussianblur feimage femerge femergenode
	femorphology feoffset fepointlight fespecularlighting fespotlight fetile feturbulence
	animate animatecolor animatemotion animatetransform set mpath discard flowroot flowpara flowregion flowspan`,
	// MathML
	`math mi mn mo ms mtext mspace mrow mfrac msqrt mroot mstyle merror mpadded mphantom mfenced menclose msub msup
	msubsup munder mover munderover mmultiscripts mprescripts none mtable mtr mlabeledtr mtd maligngroup malignmark
	maction mstack mlongdiv msgroup msrow mscarries mscarry msline semantics annotation mglyph`,
	// VML
	`arc background curve fill formulas f group handles h image imagedata line oval path polyline rect roundrect shadow
	shape shapetype stroke textbox textpath`,
)

// refusedElements are those that specifications or clients know and that mail does not need. The
// fix is another name, by which a client does not know them.
var refusedElements = map[string]htmlCheck{
	"script": checkScript,
	"iframe": checkFrame, "frame": checkFrame, "frameset": checkFrame, "layer": checkFrame, "ilayer": checkFrame,
	"portal": checkFrame, "fencedframe": checkFrame, "webview": checkFrame,
	"object": checkObject, "embed": checkObject, "applet": checkObject, "bgsound": checkObject, "sound": checkObject, "?import": checkObject,
	"form": checkForm, "isindex": checkForm, "keygen": checkForm,
	// foreignObject and annotation-xml take HTML into SVG and MathML, which is where parsers
	// differ; handler and listener are the scripts of SVG Tiny and XML Events, animation and
	// prefetch load documents.
	"foreignobject": checkSVG, "annotation-xml": checkSVG, "handler": checkSVG, "listener": checkSVG,
	"animation": checkSVG, "prefetch": checkSVG, "include": checkSVG, "binding": checkSVG, "bindings": checkSVG,
	"plaintext": checkMalformed, // takes all that follows for text, beyond the message in a web mail
}

// allowedElement reports whether mail may have an element, by its name in lower case without the
// prefix of a namespace.
func allowedElement(name string) bool { return safeElements[name] }

// An attrKind says what the value of an attribute is.
type attrKind uint8

const (
	attrUnknown attrKind = iota // no specification knows it
	attrText                    // for people, or a name: it may begin like a URL and is none
	attrWord                    // a word, a number or the like
	attrURL                     // a URL that a client follows when it is told to
	attrImage                   // a URL of what a client shows and does not run
	attrImages                  // several of those (srcset)
	attrStyle                   // CSS
	attrRefused                 // an attribute that mail does not need; refusedAttrs says why
)

// attrKinds are the attributes that are known, in lower case and without the prefix of a
// namespace.
var attrKinds = kinds(map[attrKind]string{
	attrText: `abbr alt class content id label name placeholder prompt standby summary title value name
		caption description headers list for form itemid itemprop itemref itemtype property typeof about resource vocab
		prefix datatype inlist rel rev keywords alias category`,
	attrWord: `accept accept-charset accesskey align alink allow allowfullscreen allowtransparency archive as async autocapitalize
		autocomplete autocorrect autofocus autoplay axis bgcolor border bordercolor bordercolordark bordercolorlight
		bottommargin bottompadding balance cellpadding cellspacing char charoff charset checked clear code codetype color cols colspan
		compact contenteditable contextmenu controls controlslist coords crossorigin classid datetime declare decoding default defer
		dir direction dirname disabled disablepictureinpicture disableremoteplayback draggable enctype enterkeyhint exportparts
		face fetchpriority frame frameborder framespacing galleryimg height hidden hidefocus high hreflang hspace http-equiv
		imagesizes importance inert inputmode integrity is ismap itemscope kind lang language leftmargin link loading loop
		loopdelay low marginheight marginwidth max maxlength media method min minlength multiple muted nohref
		noresize noshade novalidate nowrap nonce object open optimum part pattern playsinline pointsize preload radiogroup
		readonly referrerpolicy required reversed rightmargin role rows rowspan rules sandbox scheme scope scroll
		scrollamount scrolldelay scrolling seamless security selected shadowroot shape size sizes slot span spellcheck start step swap tabindex target text theme topmargin toppadding translate truespeed type unselectable usemap valign valuetype
		version virtualkeyboardpolicy visible vlink volume vspace width wrap writingsuggestions space blocking elementtiming
		bgproperties download methods urn layout lastvisited rightpadding leftpadding hspacing x-webkit-speech results incremental
		webkitallowfullscreen mozallowfullscreen webkitdirectory capture headings focusgroup

		accent-height accumulate additive alignment-baseline alphabetic amplitude arabic-form ascent attributename
		attributetype azimuth basefrequency baseline-shift baseprofile bbox begin bias by calcmode cap-height clip clip-path
		clip-rule clippathunits color-interpolation color-interpolation-filters color-profile color-rendering
		contentscripttype contentstyletype cursor cx cy d descent diffuseconstant display divisor dominant-baseline dur dx dy
		edgemode elevation enable-background end exponent externalresourcesrequired fill fill-opacity fill-rule filter
		filterres filterunits flood-color flood-opacity font-family font-size font-size-adjust font-stretch font-style
		font-variant font-weight format fr from fx fy g1 g2 glyph-name glyph-orientation-horizontal
		glyph-orientation-vertical glyphref gradienttransform gradientunits hanging horiz-adv-x horiz-origin-x
		horiz-origin-y ideographic image-rendering in in2 intercept k k1 k2 k3 k4 kernelmatrix kernelunitlength kerning
		keypoints keysplines keytimes lengthadjust letter-spacing lighting-color limitingconeangle local marker-end marker-mid
		marker-start markerheight markerunits markerwidth mask maskcontentunits maskunits mask-type mathematical mode
		numoctaves offset opacity operator order orient orientation origin overflow overline-position overline-thickness
		paint-order panose-1 path pathlength patterncontentunits patterntransform patternunits pointer-events points
		pointsatx pointsaty pointsatz preservealpha preserveaspectratio primitiveunits r radius refx refy rendering-intent
		repeatcount repeatdur requiredextensions requiredfeatures requiredfonts requiredformats restart result rotate rx ry
		seed shape-rendering side slope snapshottime spacing specularconstant specularexponent spreadmethod startoffset
		stddeviation stemh stemv stitchtiles stop-color stop-opacity strikethrough-position strikethrough-thickness stroke
		stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity stroke-width
		surfacescale systemlanguage tablevalues targetx targety text-anchor text-decoration text-rendering textlength
		timelinebegin to transform transform-origin u1 u2 underline-position underline-thickness unicode unicode-bidi
		unicode-range units-per-em v-alphabetic v-hanging v-ideographic v-mathematical values vector-effect vert-adv-y
		vert-origin-x vert-origin-y viewbox viewtarget visibility white-space widths word-spacing writing-mode x x-height x1 x2 xchannelselector y
		y1 y2 ychannelselector z zoomandpan show actuate arcrole

		accent accentunder actiontype alignmentscope altimg altimg-width altimg-height altimg-valign alttext bevelled charalign charspacing close columnalign
		columnlines columnspacing columnspan columnwidth crossout decimalpoint denomalign depth display displaystyle edge
		encoding equalcolumns equalrows fence fontfamily fontsize fontstyle fontweight framespacing groupalign indentalign
		indentalignfirst indentalignlast indentshift indentshiftfirst indentshiftlast indenttarget infixlinebreakstyle
		largeop length linebreak linebreakmultchar linebreakstyle lineleading linethickness location longdivstyle lquote
		lspace mathbackground mathcolor mathsize mathvariant maxsize mediummathspace minlabelspacing minsize movablelimits notation
		numalign position rowalign rowlines rowspacing rquote rspace scriptlevel scriptminsize scriptsizemultiplier
		selection separator separators shift stackalign stretchy subscriptshift superscriptshift symmetric thickmathspace
		thinmathspace verythickmathspace verythinmathspace veryverythickmathspace veryverythinmathspace voffset

		adj adjusthandles allowincell allowoverlap angle arcsize aspect aspectratio backdepth bilevel blacklevel bwmode bwnormal
		bwpure chromakey clipowner color2 colors connecttype connectortype control1 control2 coordorigin coordsize
		croptop cropbottom cropleft cropright cropping dashstyle diagramlayout dllayout drawaspect endangle endarrow
		endarrowlength endarrowwidth endcap eqn equationxml ext extrusionok farea fillcolor filled fillok filltype
		fitpath fitshape focus focusposition focussize forcedash gain gamma gfxdata gradientshapeok grayscale
		hr hralign hrnoshade hrpct hrstd idcntr idref imagealignshape imagesize inset insetpen insetpenok joinstyle limo
		linestyle lock miterlimit method obscured ole oleicon on opacity2 oned preferrelative print progid recolor rotation shadowok shapeid spid spt startangle
		startarrow startarrowlength startarrowwidth strokecolor stroked strokeok strokeweight string
		textboxrect textpathok trim userdrawn userhidden weight xscale connectangles connectlocs connectortype limo
		matrix polar switch style2 gradient regroupid singleclick str num fmla err arrayrange autofilterrange

		conversion editable emb-background-style multiline nosend originalsrc repeater shash singleline track tracklink xt
		linktype mobile responsive ignore`,
	attrURL:     `action cite href data profile longdesc pluginspage pluginurl codebase`,
	attrImage:   `src background poster lowsrc dynsrc icon imagesrc`,
	attrImages:  `srcset imagesrcset`,
	attrStyle:   `style`,
	attrRefused: strings.Join(keysOf(refusedAttrs), " "),
})

// refusedAttrs are attributes that clients act on, or that make a page out of a value.
var refusedAttrs = map[string]htmlCheck{
	"srcdoc": checkFrame, "formaction": checkForm, "ping": checkAttribute, "attributionsrc": checkAttribute,
	"manifest": checkLink, "base": checkBase, "datasrc": checkObject, "datafld": checkObject, "dataformatas": checkObject, "implementation": checkObject,
	"shadowrootmode": checkAttribute, "command": checkAttribute, "commandfor": checkAttribute, "interestfor": checkAttribute,
	"interesttarget": checkAttribute, "popover": checkAttribute, "popovertarget": checkAttribute, "popovertargetaction": checkAttribute,
	"sharedstoragewritable": checkAttribute, "browsingtopics": checkAttribute, "privatetoken": checkAttribute,
	"credentialless": checkAttribute, "adauctionheaders": checkAttribute,
}

// attrPrefixes begin the names of attributes that are left to scripts, of which there are none, or
// to the programs that wrote the page.
var attrPrefixes = []string{"data-", "aria-", "x-", "emb-", "moz-", "mso-", "mc-", "ng-", "v-", "apple-", "google-", "gmail-", "st-", "c-", "eb-", "_"}

// allowedAttr reports whether an element may have an attribute, both by their names in lower case
// and without the prefix of a namespace. A name that is in no specification and not in the tables
// is not allowed here, although it does nothing.
func allowedAttr(elem, name string) bool {
	switch {
	case elem == "meta" && name == "http-equiv", elem == "link" && name == "rel", elem == "base" && name == "href":
		return false // it depends on the value: meta, link and base
	}
	switch attrKinds[name] {
	case attrRefused:
		return false
	case attrUnknown:
		return hasAnyPrefix(name, attrPrefixes)
	}
	return true
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if len(s) > len(p) && s[:len(p)] == p {
			return true
		}
	}
	return false
}

// allowedURL reports whether an attribute of an element may have a value, as it stands in HTML or
// with its character references decoded. It is true for attributes that have no URL as value,
// unless the value is one that is dangerous anywhere.
func allowedURL(elem, attr, value string) bool {
	v := []byte(value)
	switch attrKinds[attr] {
	case attrText, attrStyle:
		return true
	case attrURL:
		return refusedURL(v, false) == ""
	case attrImage:
		return refusedURL(v, elem != "a") == ""
	case attrImages:
		return len(refusedCandidates(v)) == 0
	}
	return dangerousURL(v) == ""
}

// allowedProperty reports whether a style may set a property, by its name in lower case. Those of
// vendors are known by their prefix; behaviors and bindings are none of them.
func allowedProperty(name string) bool {
	switch name {
	case "-moz-binding", "-o-link", "-o-link-source", "-ms-behavior", "behavior", "behaviour":
		return false
	}
	return cssProperties[name] || hasAnyPrefix(name, []string{"-webkit-", "-moz-", "-ms-", "-o-", "mso-", "panose-", "--"})
}

// cssProperties are those of CSS, and of what Internet Explorer and Word had of their own.
var cssProperties = set(`accent-color align-content align-items align-self alignment-baseline all animation
	animation-composition animation-delay animation-direction animation-duration animation-fill-mode animation-iteration-count
	animation-name animation-play-state animation-range animation-timeline animation-timing-function appearance aspect-ratio
	azimuth backdrop-filter backface-visibility background background-attachment background-blend-mode background-clip
	background-color background-image background-origin background-position background-position-x background-position-y
	background-repeat background-size baseline-shift baseline-source block-ellipsis block-size border border-block
	border-block-color border-block-end border-block-end-color border-block-end-style border-block-end-width border-block-start
	border-block-start-color border-block-start-style border-block-start-width border-block-style border-block-width
	border-bottom border-bottom-color border-bottom-left-radius border-bottom-right-radius border-bottom-style
	border-bottom-width border-boundary border-collapse border-color border-end-end-radius border-end-start-radius border-image
	border-image-outset border-image-repeat border-image-slice border-image-source border-image-width border-inline
	border-inline-color border-inline-end border-inline-end-color border-inline-end-style border-inline-end-width
	border-inline-start border-inline-start-color border-inline-start-style border-inline-start-width border-inline-style
	border-inline-width border-left border-left-color border-left-style border-left-width border-radius border-right
	border-right-color border-right-style border-right-width border-spacing border-start-end-radius border-start-start-radius
	border-style border-top border-top-color border-top-left-radius border-top-right-radius border-top-style border-top-width
	border-width bottom box-decoration-break box-shadow box-sizing break-after break-before break-inside caption-side caret
	caret-color caret-shape clear clip clip-path clip-rule color color-adjust color-interpolation color-interpolation-filters
	color-profile color-rendering color-scheme column-count column-fill column-gap column-rule column-rule-color column-rule-style
	column-rule-width column-span column-width columns contain contain-intrinsic-block-size contain-intrinsic-height
	contain-intrinsic-inline-size contain-intrinsic-size contain-intrinsic-width container container-name container-type content
	content-visibility counter-increment counter-reset counter-set cue cue-after cue-before cursor cx cy d direction display
	dominant-baseline elevation empty-cells fill fill-opacity fill-rule filter flex flex-basis flex-direction flex-flow flex-grow
	flex-shrink flex-wrap float flood-color flood-opacity font font-display font-family font-feature-settings font-kerning
	font-language-override font-optical-sizing font-palette font-size font-size-adjust font-stretch font-style font-synthesis
	font-synthesis-small-caps font-synthesis-style font-synthesis-weight font-variant font-variant-alternates font-variant-caps
	font-variant-east-asian font-variant-emoji font-variant-ligatures font-variant-numeric font-variant-position
	font-variation-settings font-weight forced-color-adjust gap glyph-orientation-vertical grid grid-area grid-auto-columns
	grid-auto-flow grid-auto-rows grid-column grid-column-end grid-column-gap grid-column-start grid-gap grid-row grid-row-end
	grid-row-gap grid-row-start grid-template grid-template-areas grid-template-columns grid-template-rows hanging-punctuation
	height hyphenate-character hyphenate-limit-chars hyphens image-orientation image-rendering image-resolution ime-mode
	initial-letter inline-size inset inset-block inset-block-end inset-block-start inset-inline inset-inline-end
	inset-inline-start isolation justify-content justify-items justify-self layout-flow layout-grid layout-grid-mode left
	letter-spacing lighting-color line-break line-clamp line-height line-height-step list-style list-style-image
	list-style-position list-style-type margin margin-block margin-block-end margin-block-start margin-bottom margin-inline
	margin-inline-end margin-inline-start margin-left margin-right margin-top margin-trim marker marker-end marker-mid
	marker-start mask mask-border mask-border-mode mask-border-outset mask-border-repeat mask-border-slice mask-border-source
	mask-border-width mask-clip mask-composite mask-image mask-mode mask-origin mask-position mask-repeat mask-size mask-type
	math-depth math-shift math-style max-block-size max-height max-inline-size max-width min-block-size min-height
	min-inline-size min-width mix-blend-mode object-fit object-position offset offset-anchor offset-distance offset-path
	offset-position offset-rotate opacity order orphans outline outline-color outline-offset outline-style outline-width overflow
	overflow-anchor overflow-block overflow-clip-margin overflow-inline overflow-wrap overflow-x overflow-y overscroll-behavior
	padding padding-block padding-block-end padding-block-start padding-bottom padding-inline padding-inline-end
	padding-inline-start padding-left padding-right padding-top page page-break-after page-break-before page-break-inside
	paint-order pause pause-after pause-before perspective perspective-origin pitch pitch-range place-content place-items
	place-self play-during pointer-events position print-color-adjust punctuation-trim quotes r resize richness right rotate
	row-gap ruby-align ruby-overhang ruby-position rx ry scale scroll-behavior scroll-margin scroll-padding scroll-snap-align
	scroll-snap-stop scroll-snap-type scrollbar-3dlight-color scrollbar-arrow-color scrollbar-base-color scrollbar-color
	scrollbar-face-color scrollbar-gutter scrollbar-highlight-color scrollbar-shadow-color scrollbar-track-color scrollbar-width
	shape-image-threshold shape-margin shape-outside shape-rendering size speak speak-header speak-numeral speak-punctuation
	speech-rate src stop-color stop-opacity stress stroke stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin
	stroke-miterlimit stroke-opacity stroke-width supported-color-schemes tab-interval tab-size tab-stops table-layout text-align
	text-align-last text-anchor text-autospace text-box text-combine-upright text-decoration text-decoration-color
	text-decoration-line text-decoration-skip text-decoration-skip-ink text-decoration-style text-decoration-thickness
	text-effect text-emphasis text-emphasis-color text-emphasis-position text-emphasis-style text-fit text-indent text-justify
	text-justify-trim text-kashida text-kashida-space text-line-through text-orientation text-overflow text-rendering
	text-shadow text-size-adjust text-spacing text-transform text-underline text-underline-offset text-underline-position
	text-wrap text-wrap-mode text-wrap-style top touch-action transform transform-box transform-origin transform-style transition
	transition-behavior transition-delay transition-duration transition-property transition-timing-function translate
	unicode-bidi unicode-range user-select vector-effect vertical-align visibility voice-family volume white-space
	white-space-collapse widows width will-change word-break word-spacing word-wrap writing-mode x y z-index zoom`)

// union makes a set of the words of several lists.
func union(lists ...string) map[string]bool { return set(strings.Join(lists, " ")) }

func kinds(lists map[attrKind]string) map[string]attrKind {
	out := make(map[string]attrKind)
	for kind, words := range lists {
		for _, w := range strings.Fields(words) {
			out[w] = max(out[w], kind) // the stricter one
		}
	}
	return out
}

func keysOf[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}
