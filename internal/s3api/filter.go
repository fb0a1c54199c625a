package s3api

import (
	"bytes"
	"encoding/xml"
	"net/url"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// listFiltered passes on a listing of what only the active knows, uploads or versions, without what is Tandem's own.
func (c *call) listFiltered() error {
	answer, err := c.bucket.Gateway.Stage(c.r.Context(), c.request(), nil)
	if err != nil {
		return err
	}
	document, err := documentOf(answer)
	if err != nil {
		return err
	}
	if answer.Document, err = withoutOurs(document); err != nil {
		return err
	}
	return c.pass(answer)
}

// element is any element of a document.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Elements []element  `xml:",any"`
}

// withoutOurs takes out of a listing's document the entries of Tandem's own keys. A document without any stays as it is,
// byte by byte.
func withoutOurs(document []byte) ([]byte, error) {
	names := []string{s3op.ReservedPrefix, url.QueryEscape(s3op.ReservedPrefix)}
	if !slices.ContainsFunc(names, func(name string) bool { return bytes.Contains(document, []byte(name)) }) {
		return document, nil
	}
	var root element
	if err := xml.Unmarshal(document, &root); err != nil {
		return nil, s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the region's listing cannot be read; try again", err)
	}
	root.Elements = slices.DeleteFunc(root.Elements, func(e element) bool {
		return slices.ContainsFunc(e.Elements, func(name element) bool {
			isName := name.XMLName.Local == "Key" || e.XMLName.Local == "CommonPrefixes" && name.XMLName.Local == "Prefix"
			return isName && slices.ContainsFunc(names, func(ours string) bool { return strings.HasPrefix(name.Text, ours) })
		})
	})
	root.tidy(true)
	body, err := xml.Marshal(root)
	return append([]byte(xml.Header), body...), err
}

// tidy leaves the name space to the root, and no blanks between elements.
func (e *element) tidy(isRoot bool) {
	e.Attrs = slices.DeleteFunc(e.Attrs, func(a xml.Attr) bool { return a.Name.Local == "xmlns" })
	if !isRoot {
		e.XMLName.Space = ""
	}
	if len(e.Elements) > 0 {
		e.Text = ""
	}
	for i := range e.Elements {
		e.Elements[i].tidy(false)
	}
}
