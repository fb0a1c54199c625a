// Package s3op is the vocabulary that every other package may use: what an S3
// request asks for (Classify, ParseTarget), what an object key is, which
// headers belong to an object, and the kinds of error a front has to tell
// apart. It does no I/O and imports nothing of the project.
package s3op
