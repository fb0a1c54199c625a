// Package audit is the chain over everything that happens: its entries and their
// canonical encoding, the hash that links each to all before it, the signed
// checkpoints that go to places outside the journal, and the offline verification
// of a chain against them. The journal stores entries and hashes; this package does
// no I/O but for the files of the signing key.
//
// # The chain
//
//	h(0) = SHA-256("tandem audit v1\n" + the journal's id)
//	h(n) = SHA-256(h(n-1) + encoding of entry n)
//
// The beginning differs from journal to journal, so two never share a hash, and no
// entry of one can be passed off as the other's.
//
// # The encoding
//
// An entry is nine netstrings, one after the other, without anything between them:
//
//	netstring = length in bytes, as decimal digits   ":"   the bytes   ","
//
// in the order of Entry's fields: index, time, action, actor, bucket, key, version,
// region, detail. Index and time are decimal text, the time in microseconds since
// 1970-01-01T00:00:00Z; a field without a value is "0:,". Each netstring says where it ends and
// their number is fixed, so two different entries never have the same bytes, whatever
// their fields contain, and neither has an entry followed by others. Nothing is escaped,
// sorted or normalized, so ten lines of any language recompute a chain: docs/audit.md has
// them, with an example that a test compares with this package.
//
// # Checkpoints
//
// A Checkpoint says which hash the chain had after so many entries. As text it is a
// signed note of C2SP (https://c2sp.org/signed-note) in the lines of a tlog-checkpoint,
// except that the third is the chain's hash and not the root of a Merkle tree:
//
//	tandem/<journal id>
//	<number of entries>
//	<hash, base64>
//	time <RFC 3339, UTC, microseconds>
//
// # What is proven
//
// A chain alone proves that its entries belong together as they are: one that was changed,
// removed or moved is found (Break). It does not prove that its newest entries
// were not cut off, nor that it was not made anew, for whoever can write the journal can
// do both and compute every hash. Checkpoints that were kept where that somebody cannot
// write prove the entries that they cover, and no more; Report.Unproven says what is left.
// Against somebody who holds the signing key and can also write wherever checkpoints are
// kept, nothing is proven.
package audit
