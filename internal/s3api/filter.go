package s3api

import (
	"bytes"
	"encoding/xml"
	"net/url"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/s3op"
)

// listFiltered passes on a listing of what only the active knows, uploads or versions, without what is Tandem's own. Versions
// are as that region has them: what the index knows better is not put right, and the answer says so.
func (c *call) listFiltered() error {
	answer, err := c.bucket.Gateway.Stage(c.r.Context(), c.request(), nil)
	if err != nil {
		return err
	}
	if c.op.Operation == opListObjectVersions {
		answer.Freshness = gateway.Unknown
	}
	document, err := documentOf(answer)
	if err != nil {
		return err
	}
	if document, err = withoutOurs(document); err != nil {
		return err
	}
	answer.Document = withoutAccounts(document)
	return c.pass(answer)
}

// element is any element of a document.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Elements []element  `xml:",any"`
}

// withoutOurs takes out of a listing's document the entries of Tandem's own keys, whether or not its names are escaped for
// a URL. A document without any stays as it is, byte by byte.
func withoutOurs(document []byte) ([]byte, error) {
	if !mayHaveOurs(document) {
		return document, nil
	}
	var root element
	if err := xml.Unmarshal(document, &root); err != nil {
		return nil, s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the region's listing cannot be read; try again", err)
	}
	entries := len(root.Elements)
	root.Elements = slices.DeleteFunc(root.Elements, element.isOurs)
	if len(root.Elements) == entries {
		return document, nil
	}
	root.tidy(true)
	body, err := xml.Marshal(root)
	return append([]byte(xml.Header), body...), err
}

// mayHaveOurs reports whether the document has the reserved name behind a dot, in whatever way that is written: as it is, "%2E"
// or "&#46;".
func mayHaveOurs(document []byte) bool {
	name := []byte(strings.Trim(s3op.ReservedPrefix, "./"))
	for {
		before, rest, ok := bytes.Cut(document, name)
		if !ok {
			return false
		}
		if n := len(before); n > 0 && strings.IndexByte(".Ee;", before[n-1]) >= 0 {
			return true
		}
		document = rest
	}
}

// isOurs reports whether an entry of a listing is of Tandem's own keys.
func (e element) isOurs() bool {
	return slices.ContainsFunc(e.Elements, func(name element) bool {
		if name.XMLName.Local != "Key" && !(e.XMLName.Local == "CommonPrefixes" && name.XMLName.Local == "Prefix") {
			return false
		}
		unescaped, err := url.QueryUnescape(name.Text)
		return s3op.IsReserved(name.Text) || err == nil && s3op.IsReserved(unescaped)
	})
}

// tidy writes the name space once, at the root, and leaves no blanks between elements.
func (e *element) tidy(isRoot bool) {
	e.Attrs = slices.DeleteFunc(e.Attrs, func(a xml.Attr) bool { return a.Name.Local == "xmlns" })
	if isRoot && e.XMLName.Space != "" {
		// As an attribute: the elements below a name with a name space would be written as of none.
		e.Attrs = append(e.Attrs, xml.Attr{Name: xml.Name{Local: "xmlns"}, Value: e.XMLName.Space})
	}
	e.XMLName.Space = ""
	if len(e.Elements) > 0 {
		e.Text = ""
	}
	for i := range e.Elements {
		e.Elements[i].tidy(false)
	}
}
