package regiontest

import (
	"encoding/xml"
	"errors"
	"net/http"
)

type deleteXML struct {
	Quiet  bool
	Object []struct {
		Key       string
		VersionId string
		ETag      string
	}
}

type deleteResultXML struct {
	XMLName xml.Name `xml:"DeleteResult"`
	Deleted []deletedXML
	Error   []deleteErrorXML
}

type deletedXML struct{ Key text }

type deleteErrorXML struct {
	Key           text
	Code, Message string
}

// deleteObjects succeeds or fails for each key by itself.
func (s *Server) deleteObjects(c *call) (effect, error) {
	var doc deleteXML
	p, err := c.receiveXML(&doc, true)
	switch {
	case err != nil:
		return nil, err
	case !p.claimed && c.Header.Get("Content-Md5") == "":
		return nil, fail("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	case len(doc.Object) == 0 || len(doc.Object) > 1000:
		return nil, fail("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	return func(b *bucket) (*reply, error) {
		var result deleteResultXML
		for _, o := range doc.Object {
			err := s.mayDelete(o.ETag, b.current(o.Key))
			if o.VersionId != "" && o.VersionId != "null" {
				err = fail("NoSuchVersion", "The specified version does not exist.")
			}
			if e, refused := errors.AsType[*apiError](err); refused {
				result.Error = append(result.Error, deleteErrorXML{escape(o.Key), e.code, e.message})
				continue
			}
			s.setLocked(c.Request, b, o.Key, nil)
			if !doc.Quiet {
				result.Deleted = append(result.Deleted, deletedXML{escape(o.Key)})
			}
		}
		return xmlReply(http.StatusOK, result), nil
	}, nil
}
