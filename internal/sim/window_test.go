package sim

import "flag"

// windows is how many times as many keys there are as clients use at once. A key that is left alone
// keeps to the end what went wrong with it; of seven that are always written to, only what goes wrong
// last is seen.
var windows = flag.Int("windows", 1, "how many times as many keys as are in use at once: clients go on from key to key")

// keysAt are the keys that a client uses in its nth operation.
func keysAt(n int) []string {
	all := keys()
	first := n * (len(all) - keysOfWorld) / opsOfClient
	return all[first : first+keysOfWorld]
}
