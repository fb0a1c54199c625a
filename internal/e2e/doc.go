// Package e2e holds the end-to-end tests: the real binary, with the real region
// processes that it starts, killed, stopped and started again. It has no code of its own.
//
// The binary is built once for a run, with failpoints. Every gateway has a folder of
// its own, free ports, and an environment that inherits nothing but PATH. Tests talk to it
// over HTTP as clients do, and look into its regions directly with the region client.
//
// The regions are embedded ones, which the gateway runs. With TANDEM_E2E_REGIONS they are other S3 servers, a
// process for each, which the tests run beside it: the same tests, with the same kills, stops and losses. What is to
// be known of a kind of servers is in [kind], and a test that needs what they have not is skipped with the reason.
package e2e
