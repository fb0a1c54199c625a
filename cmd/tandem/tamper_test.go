package main

import (
	"database/sql"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gnew/tandem/internal/audit"
)

// tamper FILE SQL… changes a journal as somebody can who may write the file.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tamper file statement [statement...]")
	}
	db := openJournal(ts, args[0])
	defer db.Close()
	for _, statement := range args[1:] {
		_, err := db.Exec(statement)
		ts.Check(err)
	}
}

// rechain FILE INDEX computes the hashes anew from an entry on, which needs no key.
func rechain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: rechain file index")
	}
	from, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	db := openJournal(ts, args[0])
	defer db.Close()
	var id string
	ts.Check(db.QueryRow(`SELECT journal_id FROM journal`).Scan(&id))
	head := audit.Genesis(id)
	var links []audit.Linked
	rows, err := db.Query(`SELECT id, at, action, actor, bucket, key, version, region, detail, hash FROM audit ORDER BY id`)
	ts.Check(err)
	defer rows.Close()
	for rows.Next() {
		var l audit.Linked
		var at int64
		var hash []byte
		ts.Check(rows.Scan(&l.Index, &at, &l.Action, &l.Actor, &l.Bucket, &l.Key, &l.Version, &l.Region, &l.Detail, &hash))
		l.At = time.UnixMicro(at)
		l.Hash = audit.Hash(hash)
		if l.Index >= from {
			l.Hash = audit.Link(head, l.Entry)
			links = append(links, l)
		}
		head = l.Hash
	}
	ts.Check(rows.Err())
	ts.Check(rows.Close())
	for _, l := range links {
		_, err := db.Exec(`UPDATE audit SET hash = ? WHERE id = ?`, l.Hash[:], l.Index)
		ts.Check(err)
	}
}

// openJournal uses the driver that the program brings along.
func openJournal(ts *testscript.TestScript, path string) *sql.DB {
	db, err := sql.Open("sqlite", ts.MkAbs(path))
	ts.Check(err)
	return db
}
