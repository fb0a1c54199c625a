// Package region is the one way to reach a region: any S3 endpoint with a
// bucket of ours. It signs, sends and streams; it decides nothing.
//
// A Region is safe for concurrent use. It never sends a request twice: no
// method retries once a byte may have been written, so the caller alone
// decides what is sent again. An error tells what may have happened to the
// request (see Outcome); that is the whole of the retry safety, and it lives in
// the error and nowhere else.
//
// Every request is bounded: a region that makes no progress for the configured
// time-out, on the request body, the answer or its body, fails the request. The
// time during which the caller is slow does not count against the region.
package region
