// Package sigv4 is AWS Signature Version 4 as S3 has it: it verifies the requests of clients, reads the bodies that they
// frame and sign in chunks, and signs requests to regions. It does no I/O but reading the body that it is given, and has
// no clock.
//
//	claim, err := sigv4.Parse(r)                  // who says to have sent this, and how it is signed
//	signed, err := verifier.Verify(r, claim, now) // it was they, and now is the time
//	content, err := signed.Content(r)             // what they uploaded, verified while it is read
//
// Every error is an *s3op.Error with the code and the message of S3, but those of reading a body, which may be the
// connection's own. None holds a secret, or a signature that a client could use: what was calculated is told to nobody.
//
// # What is signed
//
// The method, the path, the query, the named headers and either the hash of the body or a word for how that is signed.
// A header that is not named is not signed: so Host has to be, and every x-amz-* that is there, since those change what a
// request does. The path and the query are signed as S3 reads them: decoded, and encoded again in the one way that all
// clients agree on. Nothing of a path is cleaned: a//b and a/../b are keys.
//
// # What a reader of a body promises
//
// Bytes are handed on as they come, before the signature over them was seen. Whoever passes them on must be able to take
// them back until the end, and the end is where lies come out: the last byte of a body of known size is handed on only
// after everything about the body was verified. So a region that was promised that size never gets it of a body that was
// tampered with.
//
// Sources: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)" with its pages on signature
// calculations, chunked uploads, trailing headers and query parameters; "Error responses".
package sigv4
