// Package e2e holds the end-to-end tests: the real binary, with the real region
// processes that it starts, killed, stopped and started again. It has no code of its own.
//
// The binary is built once for a run, with failpoints. Every gateway has a folder of
// its own, free ports, and an environment that inherits nothing but PATH. Tests talk to it
// over HTTP as clients do, and look into its regions directly with the region client, with
// the endpoint and the keys that a region keeps in its folder.
package e2e
