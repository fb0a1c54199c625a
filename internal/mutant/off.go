//go:build !mutant

package mutant

// On is false.
func On(string) bool { return false }
