package audit_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/gnew/tandem/internal/audit"
)

// exampleKey is the key of the example in docs/audit.md: its seed is 32 times the byte 7.
func exampleKey(t *testing.T) *audit.Signer {
	t.Helper()
	const name, hash = "tandem/" + journalID, "99908a37"
	secret := base64.StdEncoding.EncodeToString(append([]byte{1}, strings.Repeat("\x07", 32)...))
	dir := t.TempDir()
	key := fmt.Sprintf("PRIVATE+KEY+%s+%s+%s\n", name, hash, secret)
	if err := os.WriteFile(filepath.Join(dir, audit.KeyFile), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return newTestSigner(t, dir)
}

func exampleEntries() []audit.Entry {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return []audit.Entry{
		{Index: 1, At: at, Action: audit.Attach, Actor: "operator", Region: "secondary"},
		{
			Index: 2, At: at.Add(90*time.Second + 5*time.Microsecond), Action: audit.Write, Actor: "client", Bucket: "photos", Key: "größe.txt",
			Version: "1-1", Region: "primary", Detail: `{"etag":"9e107d9d372bb6826bd81d3542a419d6"}`,
		},
		{Index: 3, At: at.Add(time.Hour), Action: audit.Promote, Actor: "failover", Region: "secondary", Detail: "primary gave no answer for 10s"},
	}
}

// The page is what others write their own verification from.
func TestTheWorkedExampleIsWhatTheCodeDoes(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "audit.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	links := link(journalID, exampleEntries()...)

	var example, tuples strings.Builder
	fmt.Fprintf(&example, "journal  %s\nbefore   %v\n", journalID, audit.Genesis(journalID))
	for _, l := range links {
		fmt.Fprintf(&example, "\nentry    %s\nhash     %v\n", l.AppendEncoding(nil), l.Hash)
		fmt.Fprintf(&tuples, "    (%d, %d, '%s', '%s', '%s', '%s', '%s', '%s', '%s'),\n",
			l.Index, l.At.UnixMicro(), l.Action, l.Actor, l.Bucket, l.Key, l.Version, l.Region, l.Detail)
	}
	last := links[len(links)-1]
	signer := exampleKey(t)
	signed := sign(t, signer, audit.Checkpoint{JournalID: journalID, Size: last.Index, Head: last.Hash, At: last.At.Add(time.Minute)})

	for name, want := range map[string]string{
		"the example":                   "```text\n" + example.String() + "```\n",
		"the snippet's entries":         tuples.String(),
		"the snippet's journal":         `b"tandem audit v1\n` + journalID + `"`,
		"the checkpoint of the example": "```text\n" + string(signed) + "```\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/audit.md: %s is not there as it should be:\n%s", name, want)
		}
	}
	_, rest, _ := strings.Cut(page, "```text\ntandem/"+journalID+"+")
	key, _, _ := strings.Cut(rest, "\n")
	verifier, err := note.NewVerifier("tandem/" + journalID + "+" + key)
	if err != nil {
		t.Fatalf("the example's audit.pub: %v", err)
	}
	if _, err := audit.OpenCheckpoint(signed, verifier); err != nil {
		t.Errorf("the example's audit.pub: %v", err)
	}
	if r := verify(t, links, audit.Witness{Checkpoint: audit.Checkpoint{JournalID: journalID, Size: 3, Head: last.Hash}, Source: "file"}); !r.OK() {
		t.Errorf("got %+v", r)
	}
}

func TestThePageNamesEveryAction(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "audit.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []audit.Action{
		audit.Write, audit.Adopt, audit.Repair, audit.Promote, audit.Conflict, audit.Keep, audit.Resolve, audit.Close,
		audit.Regress, audit.VerifyRegion, audit.Attach, audit.Remove, audit.Compare,
	} {
		if !strings.Contains(string(content), "| `"+string(action)+"` |") {
			t.Errorf("docs/audit.md does not have the action %s", action)
		}
	}
}
