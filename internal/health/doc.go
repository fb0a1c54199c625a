// Package health says of each region whether it serves, from a HEAD of the region's
// bucket every so often. It tells; it promotes nothing and routes nothing.
//
// # Verdicts
//
//	                        New
//	                         │
//	                         ▼
//	                   ┌───────────┐
//	      one success  │  unknown  │  Failures in a row
//	      ┌────────────┤           ├────────────┐
//	      │            └───────────┘            │
//	      ▼                                     ▼
//	┌───────────┐      Failures in a row  ┌───────────┐
//	│    up     ├────────────────────────►│   down    │
//	│           │◄────────────────────────┤           │
//	└───────────┘  Recoveries in a row    └───────────┘
//
//	in each state: a refusal ends both runs, sets the Problem, and moves nothing;
//	a success clears the Problem
//
// A verdict is about a region, never about an object, and a probe has one of three
// results:
//
//   - ok: the bucket is there.
//   - failed: the region did not answer, or answered that it cannot (no connection, a
//     cut, a time-out, a 5xx but 501). That is region.IsDown, and nothing else is.
//   - refused: any other answer.
//
// Unknown is not down: a gateway that has just started lets requests through, and the
// first success makes the region up without waiting for more, for there is no bad past
// that it would have to make up for.
//
// # What a 403 means
//
// A region that refuses has answered. It is not down, however often it refuses: to promote
// another in its place because a key was rotated, a policy was edited or our own clock is wrong
// would be to fail over for a fault of ours, and to find the same fault in the next region.
// So a refusal ends a run of failures. But it is no proof that the region serves either, so it
// ends a run of successes too, and leaves an unknown region unknown. What it is, is shown:
// the Problem of the Status, which only a success takes away, or the verdict that the region
// is down. A region is Healthy when it is up and has no Problem; a failed probe alone does
// not lift one, for it is not an answer.
//
// # Who is authoritative
//
// The region's answer to the latest probes is, for this gateway alone: another one may have
// another way to the region, and see it otherwise. Failed requests are hints. They bring
// a probe forward, which counts like any other, and are never counted themselves: a request can
// fail for its object, its size or its client, where a HEAD of the bucket cannot. Who is
// active is decided in the journal, where a verdict is an argument and no more; here
// nothing is durable, and a restart begins with unknown.
//
// # What local time may decide
//
// The local clock decides when to probe, how long to wait for the answer, and how far
// apart extra probes are; it is the monotonic one, so that a wall clock that is set, or steps, makes
// no probe early and none late. It decides no verdict: those are counted in probes, and
// none expires. A machine that slept for an hour wakes with the verdicts it had, and needs as many
// answers as ever to change one.
//
// The wall clock is shown (Since, LastProbe), and is read for one thing more: a HEAD's answer
// has no body and therefore no S3 error code, so a 403 whose Date is far from our clock is called a
// skewed clock rather than a denial. Either is a refusal, so whichever clock is wrong, the state
// is the same.
//
// # Dampening
//
// One lost packet is not an outage, and one answer is not a recovery: hence the runs. A region
// that fails two probes of three is up, and one that answers two of three is not taken
// back. Probes of different regions have no common beat, since each wait is drawn anew
// within a tenth of the Interval. However many requests fail, extra probes stay a tenth of
// the Interval apart, so that a region in trouble is not asked to death. With requests under way
// the fall of a region is thus noticed after about Failures tenths of an Interval, or Failures
// Timeouts where it hangs. For how long a promotion holds before the next is not decided here.
//
// # Failure handling
//
// A probe that hangs fails at its Timeout. It holds up its own region's probes alone, and no request:
// Admit reads one atomic pointer, Report and ProbeNow leave a note that the probing
// goroutine finds. Notes coalesce, since one probe answers all that was asked before it
// began. A probe during which Run is told to end counts for nothing: what it saw is the end
// of the gateway, not that of the region.
package health
