// Package sim runs the whole gateway against thousands of seeded histories.
//
// A history is one [testing/synctest] bubble: the real app on a real SQLite journal, regions in
// memory, HTTP over in-memory connections, and fake time, so that ten minutes pass in a fraction
// of a second. What goes wrong is drawn from the seed: each request's fault by its region,
// operation, key and attempt, so that scheduling cannot change it; region states, crashes and
// what operators do by the seed alone. Clients write and read meanwhile, and a model keeps the set
// of outcomes that are permitted. In the end everything heals, and every promise is checked.
//
// TestNamedHistories runs histories that are told, not drawn: testdata/histories, one for each rule.
//
//	go test ./internal/sim -seeds=100 -start=1
//	make sim
package sim
