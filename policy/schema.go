package policy

import (
	"encoding/json"
	"io"
	"strings"
)

// WriteSchema writes a JSON schema of policy files (draft 7, which editors know), from the tables that
// files are checked against. It is for editors, which complete and explain words with it; what is in
// conditions it does not know. What Load accepts agrees with it.
func WriteSchema(w io.Writer) error {
	root := object(fileKeys, fileShapes, "rules")
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "Policy of rastel"
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(root)
}

// A shape is a JSON schema.
type shape = map[string]any

// Shapes of values. A text may be one that YAML takes for a number or for true.
func textShape() shape           { return shape{"type": []string{"string", "number", "boolean"}} }
func listOfShape(of shape) shape { return shape{"type": "array", "items": of} }
func either(list ...shape) shape { return shape{"anyOf": list} }
func yesShape() shape            { return shape{"enum": []any{"yes", "no", true, false, "true", "false"}} }

func someTextsShape() shape { return either(textShape(), listOfShape(textShape())) }

// wordShape is one of the words of a table, each with what it means.
func wordShape(words []word) shape {
	var list []any
	for _, w := range words {
		s := shape{"const": w.name}
		if w.doc != "" {
			s["description"] = plainText(w.doc)
		}
		list = append(list, s)
	}
	return shape{"anyOf": list}
}

// plainText is Markdown without its quotes.
func plainText(doc string) string { return strings.ReplaceAll(doc, "`", "") }

// object is a mapping with these keys. The shape of a key that is not given is not known.
func object(keys []word, shapes map[string]shape, required ...string) shape {
	properties := shape{}
	for _, k := range keys {
		s := shape{}
		for name, v := range shapes[k.name] {
			s[name] = v
		}
		s["description"] = plainText(k.doc)
		properties[k.name] = s
	}
	out := shape{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// entriesShape is a list of texts, and of files with more of them.
func entriesShape() shape {
	file := object(listKeys, map[string]shape{"file": textShape()}, "file")
	return listOfShape(either(textShape(), file))
}

// namedLists are lists by name.
func namedLists() shape {
	return shape{"type": "object", "additionalProperties": entriesShape()}
}

var fileShapes = map[string]shape{
	"rules":     listOfShape(object(ruleKeys, ruleShapes, "name", "when")),
	"lists":     namedLists(),
	"networks":  namedLists(),
	"addresses": namedLists(),
	"hashes":    namedLists(),
	"texts":     namedLists(),
	"inside": object(insideKeys, map[string]shape{
		"authenticated": yesShape(), "networks": listOfShape(textShape()), "listeners": listOfShape(textShape()), "domains": entriesShape(),
	}),
	"timezone": textShape(),
	"tests":    someTextsShape(),
	"mode":     wordShape(modes),
	"language": someTextsShape(),
	"signatures": listOfShape(object(signatureKeys, map[string]shape{
		"match": textShape(), "as": textShape(), "owner": textShape(), "reason": textShape(), "until": textShape(), "check": textShape(),
	}, "match", "as", "owner", "reason", "until")),
}

var ruleShapes = map[string]shape{
	"name":  textShape(),
	"for":   wordShape(scopes),
	"stage": wordShape(stages),
	"when":  textShape(),
	"then":  wordShape(finals),
	"reply": object(replyKeys, map[string]shape{
		"code": textShape(), "enhanced": textShape(), "text": textShape(),
	}),
	"do":       listOfShape(changesShape()),
	"language": someTextsShape(),
	"mode":     wordShape(modes),
	"share":    textShape(),
}

// changesShape is one item of a "do" list: a word, or a word with its argument.
func changesShape() shape {
	var words []word
	list := []shape{nil}
	for i := range changeKinds {
		k := &changeKinds[i]
		if !k.required {
			words = append(words, k.word)
		}
		if k.parse != nil {
			list = append(list, object([]word{k.word}, map[string]shape{k.name: argumentShapes[k.name]}, k.name))
		}
	}
	list[0] = wordShape(words)
	return either(list...)
}

var argumentShapes = map[string]shape{
	wordDefang: someTextsShape(),
	wordDisarm: someTextsShape(),
	wordStrip:  textShape(),
	wordRename: either(textShape(), object(renameKeys, renameShapes)),
	wordMangle: either(textShape(), object(renameKeys, renameShapes)),
	wordHeader: object(fieldKeys, map[string]shape{"name": textShape(), "value": textShape()}, "name", "value"),
	wordTag:    textShape(),
	wordBanner: either(textShape(), object(bannerKeys, map[string]shape{"text": textShape(), "name": textShape(), "signed": yesShape()})),
}

var renameShapes = map[string]shape{"reason": textShape(), "notice": yesShape(), "signed": yesShape()}
