package gateway

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// firstPartBytes is the default of Config.PartBytes.
const firstPartBytes = 8 << 20

// partBytes is the size of part number (from 1). It grows, so that 10,000 parts
// reach beyond 5 TiB while a small upload needs little room for a part.
func (g *Gateway) partBytes(number int) int64 {
	switch {
	case number <= 100: // to 800 MiB
		return g.PartBytes
	case number <= 200: // to 7 GiB
		return 64 << 20
	case number <= 4000: // to 1.9 TiB
		return 512 << 20
	}
	return 1 << 30
}

// completeTimeoutFactor: a region may take far longer to put parts together.
const completeTimeoutFactor = 10

// putParts uploads a body that is too large for one PUT, or whose size is not
// known. The parts are no write yet; the intent is opened once all are there.
func (w *write) putParts(h, conditions http.Header, in PutInput) (Result, error) {
	sums, err := newChecksums(in.Header)
	if err != nil {
		return w.end(journal.Written{}, err)
	}
	src := &countedBody{body: io.TeeReader(in.Body, sums), limit: w.g.MaxObjectBytes}
	if in.Size < 0 {
		first, release, err := w.g.spool.part(src, w.g.PartBytes, w.g.AdmitWrite)
		if err != nil {
			return w.end(journal.Written{}, err)
		}
		defer release() // whatever becomes of the upload: it may never come to its first part
		if first.size < w.g.PartBytes {
			return w.putWhole(h, conditions, first, sums)
		}
		return w.upload(h, conditions, src, sums, in.Size, func(number int) (part, func(), error) {
			if number == 1 {
				return first, release, nil
			}
			return w.g.spool.part(src, w.g.partBytes(number), w.g.AdmitWrite)
		})
	}
	return w.upload(h, conditions, src, sums, in.Size, func(number int) (part, func(), error) {
		size := min(w.g.partBytes(number), in.Size-src.count)
		return part{io.LimitReader(src, size), size}, func() {}, nil
	})
}

// putWhole writes a body of unknown size that turned out to fit into one part.
func (w *write) putWhole(h, conditions http.Header, p part, sums *checksums) (Result, error) {
	if err := sums.verify(); err != nil {
		return w.end(journal.Written{}, err)
	}
	w.mu.Lock()
	w.operation = journal.Put
	w.mu.Unlock()
	maps.Copy(h, conditions)
	if p.size <= smallBytes {
		return w.putSmall(h, p.body, p.size)
	}
	return w.putHeld(h, p.body, p.size)
}

// part is a piece of a body whose size is known.
type part struct {
	body io.Reader
	size int64
}

// upload sends the parts that next gives until one is empty, or size is reached,
// and completes them.
func (w *write) upload(h, conditions http.Header, src *countedBody, sums *checksums, size int64,
	next func(number int) (part, func(), error),
) (Result, error) {
	uploadID, err := w.active.CreateUpload(w.ctx, w.key, h)
	if err != nil {
		return w.end(journal.Written{}, err)
	}
	etags, err := w.sendParts(uploadID, size, src, next)
	if err == nil {
		err = sums.verify()
	}
	if err == nil {
		w.timeout *= completeTimeoutFactor
		w.brings = etagOfParts(etags)
		err = w.open()
	}
	if err != nil {
		w.abortUpload(uploadID)
		return w.end(journal.Written{}, err)
	}
	etag, err := w.active.CompleteUpload(w.ctx, w.key, uploadID, conditions, etags)
	if mutant.On(mutant.ErrorInside200) && err == nil && etag == "" {
		etag = w.brings
	}
	err = w.judged(err, w.brings)
	if err != nil && region.OutcomeOf(err) != region.Ambiguous {
		w.abortUpload(uploadID)
	}
	return w.end(written(h, etag, src.count), err)
}

// etagOfParts is the ETag that S3 gives an object that is put together from parts with these.
func etagOfParts(etags []string) string {
	all := md5.New()
	for _, etag := range etags {
		sum, err := hex.DecodeString(etag)
		if err != nil {
			return "" // the region has ETags of its own
		}
		all.Write(sum)
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(all.Sum(nil)), len(etags))
}

func (w *write) sendParts(uploadID string, size int64, src *countedBody, next func(int) (part, func(), error)) ([]string, error) {
	var etags []string
	for number := 1; size < 0 || src.count < size; number++ {
		p, release, err := next(number)
		if err != nil {
			return nil, err
		}
		if p.size == 0 {
			release()
			return etags, nil
		}
		etag, err := w.active.UploadPart(w.ctx, w.key, uploadID, number, nil, p.body, p.size)
		release()
		if ours := src.failure(); ours != nil {
			err = ours
		}
		if err != nil {
			return nil, err
		}
		etags = append(etags, etag)
	}
	return etags, nil
}

// abortTimeout bounds the clearing up after an upload that failed.
const abortTimeout = 15 * time.Second

// abortUpload frees the parts. Where it fails the region keeps them until its own
// rule for incomplete uploads removes them.
func (w *write) abortUpload(uploadID string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), abortTimeout)
	defer cancel()
	if err := w.active.AbortUpload(ctx, w.key, uploadID); err != nil {
		w.g.Logger.WarnContext(ctx, "upload left unfinished in the region", "region", w.active.Name(), "err", err)
	}
}

// countedBody counts what was read, and fails past its limit.
type countedBody struct {
	body  io.Reader
	limit int64
	count int64

	mu  sync.Mutex
	err error // guarded by mu
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.count += int64(n)
	if b.count > b.limit {
		err = tooLarge(b.limit)
	} else if err != nil && err != io.EOF {
		err = incomplete(err)
	}
	if err != nil && err != io.EOF {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

func (b *countedBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// spool holds parts of unknown size: the first bytes in one of a few buffers, the
// rest in a file that has no name.
type spool struct {
	dir string
	// partBytes is the size of a buffer.
	partBytes int64
	buffers   chan []byte
}

// memoryParts is how many parts may be in memory at once, over all uploads.
const memoryParts = 4

func newSpool(dir string, partBytes int64) *spool {
	s := &spool{dir: dir, partBytes: partBytes, buffers: make(chan []byte, memoryParts)}
	for range memoryParts {
		s.buffers <- nil
	}
	return s
}

// part reads up to limit bytes. The part can be read until release is called; calling
// it again does nothing. What goes to disk has to be admitted: the spool must not take
// the room that the journal needs.
func (s *spool) part(src io.Reader, limit int64, admit func() error) (part, func(), error) {
	if limit > s.partBytes {
		return s.filePart(src, limit, admit)
	}
	select {
	case buffer := <-s.buffers:
		return s.memoryPart(src, limit, buffer)
	default:
		return s.filePart(src, limit, admit)
	}
}

func (s *spool) memoryPart(src io.Reader, limit int64, buffer []byte) (part, func(), error) {
	if buffer == nil {
		buffer = make([]byte, s.partBytes)
	}
	n, err := io.ReadFull(src, buffer[:limit])
	if err != nil && !isEnd(err) {
		s.buffers <- buffer
		return part{}, nil, incomplete(err)
	}
	body := &lentBytes{}
	body.mu.data.Reset(buffer[:n])
	release := sync.OnceFunc(func() {
		body.takeBack()
		s.buffers <- buffer
	})
	return part{body, int64(n)}, release, nil
}

// lentBytes is a body in a buffer that others will use: a transport may go on reading
// a body for a while after its request has failed. It is not a *bytes.Reader, for hashing
// 8 MiB for the signature would cost more than it proves.
type lentBytes struct {
	mu struct {
		sync.Mutex
		data bytes.Reader
		gone bool
	}
}

func (b *lentBytes) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.gone {
		return 0, os.ErrClosed
	}
	return b.mu.data.Read(p)
}

func (b *lentBytes) takeBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.gone = true
	b.mu.data.Reset(nil)
}

func (s *spool) filePart(src io.Reader, limit int64, admit func() error) (part, func(), error) {
	if err := admit(); err != nil {
		return part{}, nil, err
	}
	f, err := os.CreateTemp(s.dir, "part-*")
	if err != nil {
		return part{}, nil, noSpool(err)
	}
	release := sync.OnceFunc(func() { _ = f.Close() })
	if err := os.Remove(f.Name()); err != nil {
		release()
		return part{}, nil, noSpool(err)
	}
	n, err := fill(f, src, limit, admit)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		release()
		if _, ok := errors.AsType[*s3op.Error](err); ok {
			return part{}, nil, err
		}
		return part{}, nil, noSpool(err)
	}
	return part{f, n}, release, nil
}

// admitBytes is how much of a part goes to disk before the room there is looked at again.
const admitBytes = 8 << 20

// fill copies up to limit bytes to disk.
func fill(f io.Writer, src io.Reader, limit int64, admit func() error) (int64, error) {
	var n int64
	for {
		want := min(admitBytes, limit-n)
		copied, err := io.Copy(f, io.LimitReader(src, want))
		n += copied
		if err != nil || copied < want || n == limit {
			return n, err
		}
		if err := admit(); err != nil {
			return n, err
		}
	}
}

func noSpool(err error) error {
	return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "there is no room to hold a part of the upload; nothing was written", err)
}

// isEnd reports whether io.ReadFull came to the body's proper end. A body that was
// cut short is an *s3op.Error by now, which must not be taken for one.
func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
