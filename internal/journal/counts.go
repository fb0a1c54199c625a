package journal

// Counts are how many rows a journal has, and what they take.
type Counts struct {
	// Objects has a row for each key that was ever written, tombstones included.
	Objects int64
	// Pending counts the copies that are to be made, over all regions.
	Pending int64
	// Intents counts the writes whose end is not recorded; InDoubt those of them that nobody carries any more.
	Intents, InDoubt int64
	// Ledger counts the entries of all ledgers that are open.
	Ledger int64
	// Conflicts counts those that nobody has decided.
	Conflicts int64
	// Audit is the length of the audit chain.
	Audit int64
	// DatabaseBytes and WALBytes are the sizes of what the journal keeps on disk: the rows, and the log of
	// changes that are not among them yet.
	DatabaseBytes, WALBytes int64
}
