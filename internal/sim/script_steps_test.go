package sim

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/journal/sqlite"
)

// isSetting: the world is made before the first step.
func isSetting(s step) bool { return s.words[0] == "world" || s.words[0] == "set" }

// settle makes the world:
//
//	world [primary|secondary ignores|lacks conditions] [three regions]
//	set NAME=VALUE…      of the gateway's environment
func (s *script) settle(steps []step) {
	seed := uint64(plainSeed)
	for _, st := range steps {
		if st.words[0] == "world" {
			lacks := map[string]uint64{
				"primary ignores conditions": 2, "secondary ignores conditions": 3, "primary lacks conditions": 12, "secondary lacks conditions": 5, "three regions": 9,
			}
			seed = lacks[strings.Join(st.words[1:], " ")]
			if seed == 0 {
				s.t.Fatalf("line %d: no such world", st.number)
			}
		}
	}
	s.w = newWorld(s.t, seed)
	s.w.hasTwo = false
	s.w.env["FAILOVER_MODE"], s.w.env["REPLICATION_WORKERS"], s.w.env["FAILOVER_HOLD_DOWN"] = "manual", "4", "1s"
	for _, st := range steps {
		if st.words[0] == "set" {
			for _, word := range st.words[1:] {
				name, value, _ := strings.Cut(word, "=")
				s.w.env[name] = value
			}
		}
	}
	for _, site := range s.w.sites {
		site.exact = s.hooks.ofRequests(s.w, site.name)
	}
	s.w.held = s.hooks.ofCalls(s.w)
}

// begin starts the gateway before the first step that needs it, and waits until it knows its regions.
func (s *script) begin(st step) {
	if slices.Contains([]string{"behind", "remove", "fault", "down", "lie"}, st.words[0]) {
		return
	}
	s.began = true
	s.w.begin()
	time.Sleep(3 * healthInterval)
}

// carryOut takes one step, and answers what there is to say of it.
//
//	put KEY VALUE [large|parts] [type=TYPE] [if-none-match|if-match=VALUE] [as=NAME]
//	delete KEY [as=NAME]
//	get KEY [?QUERY] [stale]     head KEY    list
//	sign NAME KEY [REGION]       a presigned URL for a put, good for a minute
//	upload NAME VALUE [as=NAME]  uses it, past the gateway
//	wait NAME       the answer of a step in the background;  answered NAME: yes or no
//	fault REGION OPERATION KEY [always] FAULT…   see parseFault; KEY may end in *
//	hold CALL KEY as=NAME        the next such call of the journal is kept; after-CALL once it is done
//	reached NAME    it is there;  release NAME: what waits for the name goes on
//	clear REGION|journal         ends its faults
//	lie REGION CODE STATUS       it answers everything so;  down REGION;  up: all is well
//	promote REGION [force|dry]   state
//	advance TIME    crash    restart    step by step
//	behind REGION KEY VALUE      remove REGION KEY: behind our back
//	save REGION     restore REGION: as it was saved;  empty REGION
//	backup          rollback: a start on that copy of the journal, and then on the present one
//	second          another gateway on the same journal
//	row KEY    holds REGION KEY    conflict KEY    ledger EPOCH KEY    trail KEY|REGION
//	requests REGION OPERATION KEY: how many;  uploads REGION: how many are open
//	rest            all comes to rest;  promises: every promise is judged
func (s *script) carryOut(words []string) string {
	name, args := words[0], words[1:]
	if as, rest := namedStep(args); as != "" && name != "hold" && name != "fault" {
		s.inBackground(as, func() string {
			switch name {
			case "promote":
				return s.promote(rest)
			case "upload":
				return s.upload(rest[0], rest[1])
			}
			return s.client(as, name, rest)
		})
		return ""
	}
	switch name {
	case "put", "delete", "get", "head", "list":
		return s.client("script", name, args)
	case "sign":
		return s.sign(args)
	case "upload":
		return s.upload(args[0], args[1])
	case "wait", "answered":
		return s.ofBackground(name, args[0])
	case "fault", "hold", "reached", "release", "clear", "lie", "down", "up", "advance", "crash", "restart":
		return s.weather(name, args)
	case "promote":
		return s.promote(args)
	case "behind", "remove", "save", "restore", "empty", "backup", "rollback", "second":
		return s.damage(name, args)
	case "rest":
		s.w.rest()
		return ""
	case "promises":
		s.w.judge()
		return ""
	}
	return s.look(name, args)
}

// namedStep takes the name out of the words of a step.
func namedStep(words []string) (name string, rest []string) {
	for _, word := range words {
		if value, ok := strings.CutPrefix(word, "as="); ok {
			name = value
		} else {
			rest = append(rest, word)
		}
	}
	return name, rest
}

// pendingStep is a client's step in the background.
type pendingStep struct {
	done   chan struct{}
	answer string
}

func (s *script) inBackground(name string, do func() string) {
	p := &pendingStep{done: make(chan struct{})}
	s.background[name] = p
	go func() {
		defer close(p.done)
		p.answer = do()
	}()
}

func (s *script) ofBackground(what, name string) string {
	p := s.background[name]
	if p == nil {
		return "no step has that name"
	}
	if what == "answered" {
		select {
		case <-p.done:
			return "yes"
		default:
			return "no"
		}
	}
	<-p.done
	return p.answer
}

// client is a client's operation, which the model is told of.
func (s *script) client(name, operation string, args []string) string {
	c := &client{w: s.w, name: name, seen: make(map[string]string)}
	switch operation {
	case "put":
		return s.put(c, args[0], args[1], args[2:])
	case "delete":
		return s.write(c, &write{client: name, key: args[0], value: absent}, func() answer {
			return s.w.do(http.MethodDelete, "/objects/"+args[0], nil, 0, nil)
		})
	case "list":
		return s.list()
	}
	return s.read(c, operation, args[0], args[1:])
}

// The bodies of a value are those of its name, so that the name is found by the ETag.
func (s *script) put(c *client, key, value string, options []string) string {
	body, etag, header := value, etagOf(value), http.Header{}
	for _, option := range options {
		name, of, _ := strings.Cut(option, "=")
		switch name {
		case "large":
			body = stretched(value, ".", largeBody)
			etag = etagOf(body)
		case "parts":
			body = stretched(value, "-", partsBody)
			etag = etagOfParts(body)
		case "type":
			header.Set("Content-Type", of)
		case "if-none-match":
			header.Set("If-None-Match", "*")
		case "if-match":
			header.Set("If-Match", `"`+etagOf(of)+`"`)
		default:
			s.t.Fatalf("put %s: %s is no option", key, option)
		}
	}
	return s.write(c, &write{client: c.name, key: key, value: etag, body: body}, func() answer {
		if strings.Contains(etag, "-") {
			return s.w.do(http.MethodPut, "/objects/"+key, io.NopCloser(strings.NewReader(body)), -1, header)
		}
		return s.w.do(http.MethodPut, "/objects/"+key, strings.NewReader(body), int64(len(body)), header)
	})
}

func (s *script) write(c *client, w *write, send func() answer) string {
	if strings.HasPrefix(w.key, ".tandem/") {
		return told(send()) // no key of a client's
	}
	var a answer
	c.write(w, func() answer {
		a = send()
		return a
	})
	return fmt.Sprintf("%s %s %s", told(a), w.fate, w.region)
}

func (s *script) sign(args []string) string {
	wish := map[string]any{"op": "put", "key": args[1], "expiresSec": 60}
	if len(args) > 2 {
		wish["region"] = args[2]
	}
	a := s.w.post("/sign", wish)
	s.w.note("sign %v: %v", args, a)
	var u signedURL
	if a.status == http.StatusOK && decode(a.body, &u) == nil {
		u.key = args[1]
		s.signed[args[0]] = u
	}
	return strings.TrimSpace(told(a) + " " + u.Region)
}

// signedURL is one that a script has.
type signedURL struct {
	URL, Region string
	key         string
}

func (s *script) upload(name, value string) string {
	u := s.signed[name]
	w := &write{client: "past the gateway", key: u.key, value: etagOf(value), body: value}
	s.w.model.begin(w)
	status, err := (&client{w: s.w}).putDirectly(u.URL, u.Region, value)
	s.w.model.end(w, outcome{fate: unknown})
	s.w.note("upload %s to %s: %d %v", value, u.Region, status, err)
	return fmt.Sprint(status)
}

// told is an answer's status, and the code of its error.
func told(a answer) string {
	var problem struct {
		Code       string
		Objections []struct{ Code string }
	}
	switch {
	case a.status == 0:
		return "cut"
	case a.status >= 400 && decode(a.body, &problem) == nil:
		text := []string{fmt.Sprint(a.status), problem.Code}
		for _, o := range problem.Objections {
			text = append(text, o.Code)
		}
		return strings.Join(text, " ")
	}
	return fmt.Sprint(a.status)
}

func (s *script) read(c *client, operation, key string, options []string) string {
	method, query, header := strings.ToUpper(operation), "", http.Header{}
	for _, option := range options {
		switch {
		case strings.HasPrefix(option, "?"):
			query = option
		case option == "stale":
			header.Set("X-Tandem-Allow-Stale", "1")
		}
	}
	began := s.w.model.now()
	a := s.w.do(method, "/objects/"+key+query, nil, 0, header)
	ended := s.w.model.now()
	said, region := a.header.Get("X-Tandem-Freshness"), a.header.Get("X-Tandem-Region")
	text := strings.Join(strings.Fields(strings.Join([]string{told(a), said, region}, " ")), " ")
	value := absent
	if a.status == http.StatusOK {
		value = strings.Trim(a.header.Get("Etag"), `"`)
		text += " " + s.valueOf(value)
		if method == http.MethodGet {
			c.checkBody(key, value, a)
		}
		if a.err != nil {
			text += " cut"
		}
	}
	s.w.note("%s reads %s%s: %s", c.name, key, query, text)
	isAnswer := a.status == http.StatusOK || a.status == http.StatusNotFound
	if isAnswer && said != "stale" && said != "unknown" {
		c.checkRead(freshness, key, value, began, ended)
		s.w.model.observe(key, value, ended)
	}
	return text
}

// valueOf is the name of the value with an ETag.
func (s *script) valueOf(etag string) string {
	if etag = strings.Trim(etag, `"`); etag == "" {
		return "nothing"
	}
	body, known := s.w.model.body(etag)
	if !known {
		return "etag:" + etag
	}
	name, _, _ := strings.Cut(body, " ")
	return name
}

func (s *script) list() string {
	a := s.w.do(http.MethodGet, "/objects?limit=1000", nil, 0, nil)
	var l listing
	text := []string{told(a), a.header.Get("X-Tandem-Freshness"), a.header.Get("X-Tandem-Region")}
	if a.status == http.StatusOK && decode(a.body, &l) == nil {
		text = append(text, fmt.Sprintf("n=%d", len(l.Objects)))
		for _, o := range l.Objects {
			text = append(text, o.Key+"="+s.valueOf(o.ETag))
		}
	}
	return strings.Join(text, " ")
}

// backgroundPatience is how long something may take to come about.
const backgroundPatience = 10 * time.Minute

func (s *script) weather(name string, args []string) string {
	w := s.w
	w.note("%s %s", name, strings.Join(args, " "))
	switch name {
	case "fault":
		s.hooks.add(s.hooks.parseFault(args[0], args[1:]))
	case "hold":
		s.hooks.add(s.hooks.parseFault("journal", args))
	case "reached":
		select {
		case <-s.hooks.named(args[0]).reached:
		case <-time.After(backgroundPatience):
			s.t.Errorf("%s was not reached", args[0])
		}
	case "release":
		s.hooks.named(args[0]).release()
		time.Sleep(time.Millisecond)
	case "clear":
		s.hooks.clear(args[0])
	case "lie":
		s.lie(args[0], args[1], args[2])
	case "down":
		w.site(args[0]).server.SetDown(true)
	case "up":
		for _, site := range w.sites {
			site.server.SetDown(false)
			s.lie(site.name, "", "0")
		}
	case "advance":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(d)
	case "crash":
		w.rebirth()
	case "restart":
		w.restart()
	}
	return ""
}

func (s *script) damage(name string, args []string) string {
	w := s.w
	w.note("%s %s", name, strings.Join(args, " "))
	switch name {
	case "behind":
		foreign := &write{client: "behind our back", key: args[1], value: etagOf(args[2]), body: args[2]}
		w.model.begin(foreign)
		w.site(args[0]).server.Put(w.site(args[0]).bucket, args[1], []byte(args[2]))
		w.model.end(foreign, outcome{fate: unknown})
	case "remove":
		w.damaged.Store(true)
		w.site(args[0]).server.Remove(w.site(args[0]).bucket, args[1])
	case "save":
		s.saved[args[0]] = &saved{objects: w.site(args[0]).server.Save()}
	case "restore", "empty":
		w.damaged.Store(true)
		old := s.saved[args[0]]
		if name == "empty" {
			old = &saved{}
		}
		w.site(args[0]).server.Load(old.objects)
	case "backup":
		s.backup = filepath.Join(w.dir, "backup.db")
		if err := sqlite.Backup(context.Background(), w.current().path, s.backup); err != nil {
			s.t.Fatal(err)
		}
	case "rollback":
		return s.rollback()
	case "second":
		j, err := sqlite.Open(context.Background(), sqlite.Config{Path: w.current().path})
		if err != nil {
			return "refused"
		}
		_ = j.Close()
		return "opened"
	}
	return ""
}

func (s *script) rollback() string {
	old := s.w.current()
	s.w.bury(old)
	old.die()
	text := "started"
	if err := s.w.startLife(s.backup); err != nil {
		text = "refused"
	}
	s.w.bury(s.w.current())
	s.w.current().die()
	if err := s.w.startLife(old.path); err != nil {
		s.t.Errorf("start on the journal as it was: %v", err)
	}
	return text
}

func (s *script) promote(args []string) string {
	wish := map[string]any{"region": args[0]}
	for _, option := range args[1:] {
		wish[map[string]string{"force": "force", "dry": "dryRun"}[option]] = true
	}
	a := s.w.post("/admin/failover/promote", wish)
	s.w.note("promote %v: %v", args, a)
	if len(wish) > 1 && wish["dryRun"] != nil {
		var dry struct {
			AtRisk        struct{ Keys int64 }
			InDoubt       int64
			NeverCompared map[string]*int64
		}
		_ = decode(a.body, &dry)
		return fmt.Sprintf("%s at-risk=%d in-doubt=%d", told(a), dry.AtRisk.Keys, dry.InDoubt)
	}
	return told(a)
}

// look answers what is known of a key, or held.
func (s *script) look(name string, args []string) string {
	w := s.w
	switch name {
	case "state":
		return s.state()
	case "row":
		return s.row(args[0])
	case "holds":
		o, found := w.site(args[0]).server.Object(w.site(args[0]).bucket, args[1])
		if !found {
			return "nothing"
		}
		return s.valueOf(o.ETag)
	case "conflict":
		return s.conflict(args[0])
	case "ledger":
		return s.ledger(args[0], args[1])
	case "trail":
		return s.trail(args[0])
	case "requests":
		n := 0
		for _, q := range w.site(args[0]).server.Requests() {
			if q.Operation == args[1] && q.Key == args[2] {
				n++
			}
		}
		return fmt.Sprint(n)
	case "uploads":
		return fmt.Sprint(len(w.site(args[0]).server.Uploads(w.site(args[0]).bucket)))
	}
	s.t.Errorf("%s is no step", name)
	return ""
}

func (s *script) state() string {
	var state struct {
		Active  string
		Epoch   int64
		Regions []struct {
			Name, Health        string
			Compared, Regressed bool
			LagSeconds          *float64
		}
	}
	if err := s.w.get("/admin/state", &state); err != nil {
		return err.Error()
	}
	text := []string{"active=" + state.Active, fmt.Sprintf("epoch=%d", state.Epoch)}
	for _, r := range state.Regions {
		text = append(text, r.Name+"="+r.Health)
		for what, is := range map[string]bool{"regressed": r.Regressed, "uncompared": !r.Compared, "lag-unknown": r.LagSeconds == nil} {
			if is {
				text = append(text, r.Name+"-"+what)
			}
		}
	}
	return strings.Join(text, " ")
}

func (s *script) row(key string) string {
	var row struct {
		Version, ETag    string
		Deleted, Settled bool
		Regions          []struct{ Region, State string }
	}
	a := s.w.do(http.MethodGet, "/replication/"+key, nil, 0, nil)
	if a.status != http.StatusOK || decode(a.body, &row) != nil {
		return "none " + told(a)
	}
	value := s.valueOf(row.ETag)
	if row.Deleted {
		value = "deleted"
	}
	text := []string{value, map[bool]string{true: "settled", false: "unsettled"}[row.Settled], row.Version}
	for _, r := range row.Regions {
		text = append(text, r.Region+"="+r.State)
	}
	return strings.Join(text, " ")
}

// conflict answers "VALUE=STATE REGION" of each.
func (s *script) conflict(key string) string {
	conflicts, err := s.w.conflicts(key)
	if err != nil {
		return err.Error()
	}
	var text []string
	for _, c := range conflicts {
		loser := s.valueOf(c.ETag)
		if c.Deleted {
			loser = "deleted"
		}
		text = append(text, fmt.Sprintf("%s=%s %s", loser, c.State, c.Region))
	}
	return cmp.Or(strings.Join(text, " "), "none")
}

// ledger answers "KIND=OUTCOME" of each entry of a key.
func (s *script) ledger(epoch, key string) string {
	var of int64
	if _, err := fmt.Sscan(epoch, &of); err != nil {
		return err.Error()
	}
	entries, err := s.w.ledger(of)
	if err != nil {
		return err.Error()
	}
	var text []string
	for _, e := range entries {
		if e.Key == key {
			text = append(text, fmt.Sprintf("%s=%s", e.Kind, cmp.Or(deref(e.Outcome), "open")))
		}
	}
	return cmp.Or(strings.Join(text, " "), "none")
}

// trail answers the actions of the audit chain's entries of a key, or of a region.
func (s *script) trail(of string) string {
	var text []string
	entries, err := s.w.current().inner.AuditEntries(context.Background(), 0, 1000)
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		if e.Key == of || e.Key == "" && e.Region == of {
			text = append(text, string(e.Action))
		}
	}
	return cmp.Or(strings.Join(text, " "), "none")
}

// lie has a region answer everything with an error; with none, it tells the truth again.
func (s *script) lie(region, code, status string) {
	s.w.site(region).lie(errorOf(code, status))
}
