// Package archtest holds the rules of ARCHITECTURE.md as tests: who may import
// whom, what a package may use of the standard library, and that the documents name
// what exists. Each rule has its reason, which a failure prints.
//
// The rules are read from the source files alone, under every build tag, so that
// they cost no build.
package archtest
