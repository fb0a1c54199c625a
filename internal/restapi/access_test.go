package restapi

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/s3op"
)

const (
	admin  = "admin-token"
	first  = "first-api-token"
	second = "second-api-token"
)

// verdict is what a check says: "in", "token" for a 401, or the code of a refusal.
func verdict(err error) string {
	if err == nil {
		return "in"
	}
	if _, ok := errors.AsType[*authError](err); ok {
		return "token"
	}
	if e, ok := errors.AsType[*s3op.Error](err); ok && e.Kind == s3op.Denied {
		return e.Code
	}
	return fmt.Sprintf("%v", err)
}

func request(host string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestATokenOpensItsAreas(t *testing.T) {
	t.Parallel()
	areas := []Area{Objects, Admin, Monitoring, Open}
	everywhere, loopback := NewAccess(admin, []string{first, second}, false), NewAccess(admin, []string{first, second}, true)
	onlyAdmin, onlyAPI := NewAccess(admin, nil, false), NewAccess("", []string{first}, true)
	for _, c := range []struct {
		name          string
		access        *Access
		authorization string
		want          [4]string // of the areas
	}{
		{"admin", everywhere, "Bearer " + admin, [4]string{"in", "in", "in", "in"}},
		{"first of the API's", everywhere, "Bearer " + first, [4]string{"in", "AccessDenied", "in", "in"}},
		{"second of the API's", everywhere, "Bearer " + second, [4]string{"in", "AccessDenied", "in", "in"}},
		{"scheme in capitals", everywhere, "BEARER " + first, [4]string{"in", "AccessDenied", "in", "in"}},
		{"spaces around it", everywhere, "Bearer  " + first + " ", [4]string{"in", "AccessDenied", "in", "in"}},
		{"none", everywhere, "", [4]string{"token", "token", "token", "in"}},
		{"none, on loopback", loopback, "", [4]string{"token", "token", "in", "in"}},
		{"nobody's", everywhere, "Bearer nobody's", [4]string{"token", "token", "token", "in"}},
		{"nobody's, on loopback", loopback, "Bearer nobody's", [4]string{"token", "token", "in", "in"}},
		{"empty", everywhere, "Bearer ", [4]string{"token", "token", "token", "in"}},
		{"beginning of one", everywhere, "Bearer " + admin[:len(admin)-1], [4]string{"token", "token", "token", "in"}},
		{"more than one", everywhere, "Bearer " + admin + "x", [4]string{"token", "token", "token", "in"}},
		{"other case", everywhere, "Bearer " + strings.ToUpper(admin), [4]string{"token", "token", "token", "in"}},
		{"no scheme", everywhere, admin, [4]string{"token", "token", "token", "in"}},
		{"another scheme", everywhere, "Basic " + admin, [4]string{"token", "token", "token", "in"}},
		{"no API tokens are set", onlyAdmin, "Bearer " + first, [4]string{"token", "token", "token", "in"}},
		{"no API tokens are set, empty", onlyAdmin, "Bearer ", [4]string{"token", "token", "token", "in"}},
		{"no admin token is set, empty", onlyAPI, "Bearer ", [4]string{"token", "token", "in", "in"}},
		{"no admin token is set", onlyAPI, "Bearer " + first, [4]string{"in", "AccessDenied", "in", "in"}},
	} {
		for i, area := range areas {
			r := request("tandem.example", "Origin", "https://elsewhere.example") // with tokens neither matters
			if c.authorization != "" {
				r.Header.Set("Authorization", c.authorization)
			}
			if got := verdict(c.access.check(r, area)); got != c.want[i] {
				t.Errorf("%s, area %d: got %s, want %s", c.name, area, got, c.want[i])
			}
		}
	}
}

// Without tokens everything is open to this machine's own programs, and to nobody whom
// a browser was made to speak for.
func TestWithoutTokensOnlyThisMachineIsAnswered(t *testing.T) {
	t.Parallel()
	const in, host, origin = "in", "ForeignHost", "ForeignOrigin"
	for _, c := range []struct {
		r    *http.Request
		want string
	}{
		{request("localhost"), in},
		{request("localhost:8080"), in},
		{request("LocalHost:8080"), in},
		{request("127.0.0.1"), in},
		{request("127.255.0.9:8080"), in},
		{request("[::1]"), in},
		{request("[::1]:8080"), in},
		{request("[::ffff:127.0.0.1]:8080"), in},
		{request("::1"), in},
		{request(""), host},
		{request(":8080"), host},
		{request("0.0.0.0:8080"), host},
		{request("[::]:8080"), host},
		{request("10.0.0.1:8080"), host},
		{request("tandem.example"), host},
		{request("localhost.example:8080"), host},
		{request("127.0.0.1.example"), host},
		{request("evil.example@127.0.0.1"), host},
		{request("127.1"), host},
		{request("localhost:1", "Origin", "http://localhost:3000"), in},
		{request("localhost:1", "Origin", "http://[::1]:3000"), in},
		{request("localhost:1", "Origin", "null"), origin},
		{request("localhost:1", "Origin", "https://tandem.example"), origin},
		{request("localhost:1", "Origin", "https://localhost.example"), origin},
		{request("localhost:1", "Origin", "https://localhost@tandem.example"), origin},
		{request("localhost:1", "Origin", "file://"), origin},
		{request("localhost:1", "Origin", "://"), origin},
		{request("localhost:1", "Sec-Fetch-Site", "cross-site"), origin},
		{request("localhost:1", "Sec-Fetch-Site", "same-origin"), in},
		{request("localhost:1", "Sec-Fetch-Site", "none"), in},
		{request("localhost:1", "Authorization", "Bearer "+admin), in},
	} {
		for _, area := range []Area{Objects, Admin, Monitoring, Open} {
			if got := verdict(NewAccess("", nil, true).check(c.r, area)); got != c.want {
				t.Errorf("Host %q, %v, area %d: got %s, want %s", c.r.Host, c.r.Header, area, got, c.want)
			}
		}
	}
}

// A comparison that ends at the first difference tells how much of a token was right.
func TestTokensAreComparedInConstantTime(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "access.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "recognise" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(*ast.BinaryExpr)
			if !ok || e.Op != token.EQL && e.Op != token.NEQ {
				return true
			}
			call, _ := e.X.(*ast.CallExpr)
			if call == nil || call.Fun.(*ast.SelectorExpr).Sel.Name != "ConstantTimeCompare" {
				t.Errorf("recognise compares otherwise than with ConstantTimeCompare")
			}
			compared++
			return true
		})
	}
	if compared != 2 {
		t.Errorf("recognise compares %d times, want 2: the admin's token and the API's", compared)
	}
}
