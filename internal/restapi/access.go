package restapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// Area is what a request touches, for access.
type Area int

// The areas.
const (
	// Objects needs an API token or the admin token.
	Objects Area = iota
	// Admin needs the admin token.
	Admin
	// Monitoring needs any token where the gateway listens beyond loopback.
	Monitoring
	// Open needs nothing.
	Open
)

// Access decides who may ask. Without any token the gateway listens on loopback
// alone, and what guards it is that a request must come from this machine and not from a
// web page of somebody else: a foreign Host is DNS rebinding, a foreign Origin is CSRF.
type Access struct {
	admin    [sha256.Size]byte
	api      [][sha256.Size]byte
	hasAdmin bool
	loopback bool
}

// NewAccess takes the admin token ("" for none), the API tokens, and whether the
// gateway listens on loopback alone.
func NewAccess(adminToken string, apiTokens []string, loopback bool) *Access {
	a := &Access{hasAdmin: adminToken != "", loopback: loopback, admin: sha256.Sum256([]byte(adminToken))}
	for _, t := range apiTokens {
		a.api = append(a.api, sha256.Sum256([]byte(t)))
	}
	return a
}

// authError is answered with 401.
type authError struct{ detail string }

func (e *authError) Error() string { return e.detail }

func (a *Access) check(r *http.Request, area Area) error {
	if !a.hasAdmin && len(a.api) == 0 {
		return checkLocal(r)
	}
	if area == Open || area == Monitoring && a.loopback {
		return nil
	}
	token, ok := bearer(r)
	if !ok {
		return &authError{"a token is needed: send it as Authorization: Bearer <token>"}
	}
	isAdmin, isAPI := a.recognise(token)
	switch {
	case isAdmin, isAPI && area != Admin:
		return nil
	case isAPI:
		return s3op.NewError(s3op.Denied, "AccessDenied", "this needs the admin token (ADMIN_TOKEN); an API token opens /objects and /replication")
	}
	return &authError{"the token is not one of this gateway's"}
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

// recognise compares digests, so that the time taken tells nothing of a token.
func (a *Access) recognise(token string) (isAdmin, isAPI bool) {
	sum := sha256.Sum256([]byte(token))
	isAdmin = a.hasAdmin && subtle.ConstantTimeCompare(sum[:], a.admin[:]) == 1
	for _, t := range a.api {
		if subtle.ConstantTimeCompare(sum[:], t[:]) == 1 {
			isAPI = true
		}
	}
	return isAdmin, isAPI
}

// checkLocal refuses what a browser was made to send by a page of somebody else.
func checkLocal(r *http.Request) error {
	if !isLoopback(r.Host) {
		return s3op.NewError(s3op.Denied, "ForeignHost",
			"the Host header is not a loopback name; without tokens only 127.0.0.1, ::1 and localhost are answered (set ADMIN_TOKEN to use another name)")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !isLoopback(u.Host) {
			return foreignOrigin()
		}
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return foreignOrigin()
	}
	return nil
}

func foreignOrigin() error {
	return s3op.NewError(s3op.Denied, "ForeignOrigin",
		"the request was made by a web page of another origin; without tokens that is refused (set ADMIN_TOKEN to allow such clients with a token)")
}

func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
