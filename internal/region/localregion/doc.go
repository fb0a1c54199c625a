// Package localregion is an embedded region: a local folder, served as S3 by a
// child process on a loopback port.
//
// It exists so that the gateway runs on a fresh machine, and so that a failover
// can be tested by killing a process. To the rest of the program it is an
// endpoint, buckets and a key pair like those of any other region.
//
// # Processes
//
// The server is versitygw's posix backend. It changes the working directory of
// its process, so there is one process for each region: our own binary, run
// again with a hidden command that calls [Serve]. [Region] is the parent's side:
//
//	Region.Run ──fork──► Serve(dir) ──► http://127.0.0.1:PORT
//	    │  holds the only write end        │
//	    └──────── stdin pipe ──────────────┘  EOF: drain, then exit
//	    ◄──────── stdout, stderr ──────────   "ready", the reason of a failure, log lines
//
// The pipe alone decides when the child ends: Run closes it to stop the child,
// and the kernel closes it when the parent dies, however it dies. The child
// has a process group of its own and ignores the signals that end a terminal
// session or a service, for they reach the whole group or control group at once and
// the gateway still needs its regions while it drains.
//
// # The folder
//
//	server.json      port, key pair, buckets, kind of metadata; mode 0600
//	server.lock      held by the child that serves the folder
//	buckets/BUCKET   the objects of a bucket, as files
//	versions/        older versions of objects in versioned buckets
//	meta/            object metadata, only where the file system has no user attributes
//
// Port and key pair are chosen when the folder is first used and kept, so an
// endpoint stays true after a restart. Folders are made with mode 0700 and objects with 0600.
//
// # What an embedded region does not promise
//
// Nothing is flushed to disk before it is acknowledged: a process may be killed
// at any time, but a machine that stops uncleanly may lose or shorten objects.
// Not every S3 key can be held ([CheckKey]), p and p/q not at the same time, and metadata
// must fit where the file system keeps attributes (4 KiB on ext4).
package localregion
