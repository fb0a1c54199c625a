package apiclient

import (
	"context"
	"crypto/md5" // what S3 makes the ETag of a single PUT from
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// PartSuffix ends the name of a file that is still being downloaded.
const PartSuffix = ".tandem-part"

// noteSuffix ends the name of the file that says of which object a part is.
const noteSuffix = PartSuffix + "-of"

// ErrBusy is a file that another process is downloading.
var ErrBusy = errors.New("another process is downloading this file")

// ErrCorrupt is a download whose bytes are not those of its ETag.
var ErrCorrupt = errors.New("the bytes that arrived are not those of the object's ETag")

// DownloadInput chooses how an object comes into a file.
type DownloadInput struct {
	ReadOptions
	// IgnoreChecksum takes an ETag that looks like an MD5 for none: there are servers whose ETags do.
	IgnoreChecksum bool
	// Progress is told how much of the object is there. Default: nobody.
	Progress func(done, size int64)
}

// maxChanges is how often a download begins anew because its object was changed meanwhile.
const maxChanges = 5

// Download brings an object into the file called name below root, in a folder that is there.
//
//  1. The bytes go into name+PartSuffix. A note beside it says of which object they are, and is written
//     only while the part is empty: a part without its note, or with one of another object, is not used.
//  2. The part is compared with the object's size, and with its ETag where that is an MD5, and flushed to disk.
//  3. It is renamed to name, the note is removed, and the folder is flushed.
//
// Whatever ends a download before 3, a later one goes on where it was, if the object is still the same. What
// is called name is at any time what it was before, or the whole object.
func (c *Client) Download(ctx context.Context, key string, root *os.Root, name string, in DownloadInput) (Object, error) {
	if IsPart(name) {
		return Object{}, fmt.Errorf("%s is the name of a download under way; choose one that does not end in %s", name, PartSuffix)
	}
	p, err := openPart(root, name)
	if err != nil {
		return Object{}, err
	}
	defer p.file.Close()
	var o Object
	for changes := 0; ; changes++ {
		isResumed := false
		o, isResumed, err = c.fill(ctx, key, p, in)
		isAnew := errors.Is(err, ErrChanged) || isResumed && errors.Is(err, ErrCorrupt)
		if !isAnew || changes == maxChanges {
			break
		}
		if err := p.reset(); err != nil {
			return o, err
		}
	}
	switch {
	case errors.Is(err, ErrCorrupt):
		return o, errors.Join(err, p.remove())
	case err != nil:
		return o, errors.Join(err, p.removeEmpty())
	}
	return o, p.finish(name, &o)
}

// fill brings what the part lacks, and verifies it.
func (c *Client) fill(ctx context.Context, key string, p *part, in DownloadInput) (o Object, isResumed bool, err error) {
	at, err := p.resume(c.Bucket, key)
	if err != nil {
		return o, false, err
	}
	isResumed = at > 0
	if isResumed && at == p.note.Size {
		// There is nothing to ask for, but whether it is still this object.
		if o, err = c.Head(ctx, key, in.ReadOptions); err == nil && o.ETag != p.note.ETag || IsNotFound(err) {
			err = ErrChanged
		}
		if err != nil {
			return o, true, err
		}
		return o, true, p.verify(&o, in.IgnoreChecksum)
	}
	r, err := c.Open(ctx, key, p.note.ETag, at, in.ReadOptions)
	if err != nil {
		return o, isResumed, err
	}
	defer r.Close()
	o = r.Object
	if !isResumed {
		if err := p.begin(note{c.Bucket, key, o.ETag, o.Size}); err != nil {
			return o, false, err
		}
	}
	if err := p.take(r, in.Progress); err != nil {
		return o, isResumed, err
	}
	return o, isResumed, p.verify(&o, in.IgnoreChecksum)
}

// note says of which object a part is.
type note struct {
	Bucket string `json:"bucket,omitempty"`
	Key    string `json:"key"`
	ETag   string `json:"etag"`
	Size   int64  `json:"size"`
}

// part is a download's file, locked.
type part struct {
	root           *os.Root
	file           *os.File
	path, notePath string
	note           note
	sum            hash.Hash
	at             int64
}

// maxNameBytes is the longest name that file systems take.
const maxNameBytes = 255

// partName is the part's name in the folder of name. One that would be too long is cut, and told
// from others by a hash.
func partName(name, suffix string) string {
	dir, base := path.Split(name)
	if len(base)+len(noteSuffix) <= maxNameBytes {
		return dir + base + suffix
	}
	sum := md5.Sum([]byte(base))
	cut := base[:maxNameBytes-len(noteSuffix)-2*len(sum)-1]
	for !utf8.ValidString(cut) && len(cut) > 0 {
		cut = cut[:len(cut)-1]
	}
	return dir + cut + "." + hex.EncodeToString(sum[:]) + suffix
}

const newFileMode = 0o666 // less what the umask takes

func openPart(root *os.Root, name string) (*part, error) {
	p := &part{root: root, path: partName(name, PartSuffix), notePath: partName(name, noteSuffix), sum: md5.New()}
	for {
		f, err := root.OpenFile(p.path, os.O_RDWR|os.O_CREATE, newFileMode)
		if err != nil {
			return nil, fmt.Errorf("make the file of the download: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				err = ErrBusy
			}
			return nil, fmt.Errorf("lock %s: %w", p.path, err)
		}
		p.file = f
		// Who had the lock before may have renamed what was opened here.
		opened, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("look at the file of the download: %w", err)
		}
		if named, err := root.Lstat(p.path); err == nil && os.SameFile(opened, named) {
			return p, nil
		}
		f.Close()
	}
}

// resume reads what is there of the key's object, and returns where to go on.
func (p *part) resume(bucket, key string) (int64, error) {
	info, err := p.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at the file of the download: %w", err)
	}
	p.note, p.at = note{}, 0
	p.sum.Reset()
	data, err := p.root.ReadFile(p.notePath)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("read what the download is of: %w", err)
	}
	var found note
	isOurs := json.Unmarshal(data, &found) == nil && found.Bucket == bucket && found.Key == key && found.ETag != ""
	if !isOurs || info.Size() == 0 || info.Size() > found.Size {
		return 0, p.reset()
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("read the download on: %w", err)
	}
	if p.at, err = io.Copy(p.sum, p.file); err != nil {
		return 0, fmt.Errorf("read the download on: %w", err)
	}
	p.note = found
	return p.at, nil
}

// reset forgets what is there.
func (p *part) reset() error {
	p.note, p.at = note{}, 0
	p.sum.Reset()
	if err := p.file.Truncate(0); err != nil {
		return fmt.Errorf("begin the download anew: %w", err)
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("begin the download anew: %w", err)
	}
	return nil
}

// begin writes the note of an empty part. Where the object cannot be known again, there is none.
func (p *part) begin(n note) error {
	p.note = n
	data, err := json.Marshal(n)
	if err == nil {
		err = p.root.WriteFile(p.notePath, data, newFileMode)
	}
	if err != nil {
		return fmt.Errorf("write down what the download is of: %w", err)
	}
	return nil
}

func (p *part) take(r *Reader, progress func(done, size int64)) error {
	buffer := make([]byte, copyBytes)
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			if _, err := p.file.Write(buffer[:n]); err != nil {
				return fmt.Errorf("write the download: %w", err)
			}
			_, _ = p.sum.Write(buffer[:n]) // a hash takes everything
			p.at += int64(n)
			if progress != nil {
				progress(p.at, r.Size)
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

const copyBytes = 128 << 10

var md5Form = regexp.MustCompile(`^[0-9a-f]{32}$`)

// IsMD5 reports whether an ETag is that of a single PUT, which is its MD5, rather than of several parts.
func IsMD5(etag string) bool { return md5Form.MatchString(etag) }

func (p *part) verify(o *Object, ignoreChecksum bool) error {
	if o.Size >= 0 && p.at != o.Size {
		return fmt.Errorf("%w: %d bytes arrived, and it has %d", ErrCorrupt, p.at, o.Size)
	}
	sum := hex.EncodeToString(p.sum.Sum(nil))
	if ignoreChecksum || !IsMD5(o.ETag) || sum == o.ETag {
		return nil
	}
	return fmt.Errorf("%w: their MD5 is %s, the ETag %s", ErrCorrupt, sum, o.ETag)
}

// finish gives the part its name.
func (p *part) finish(name string, o *Object) error {
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("flush the download to disk: %w", err)
	}
	if !o.LastModified.IsZero() {
		if err := p.root.Chtimes(p.path, o.LastModified, o.LastModified); err != nil {
			return fmt.Errorf("set the time of the download: %w", err)
		}
	}
	if err := p.root.Rename(p.path, name); err != nil {
		return fmt.Errorf("give the download its name: %w", err)
	}
	if err := p.root.Remove(p.notePath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the note of the download: %w", err)
	}
	folder, err := p.root.Open(path.Dir(name))
	if err != nil {
		return fmt.Errorf("flush the folder to disk: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // not every file system can
		return fmt.Errorf("flush the folder to disk: %w", err)
	}
	return nil
}

// remove takes part and note away.
func (p *part) remove() error {
	var failed error
	for _, name := range []string{p.path, p.notePath} {
		if err := p.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// removeEmpty leaves nothing behind of a download that brought nothing.
func (p *part) removeEmpty() error {
	if info, err := p.file.Stat(); err != nil || info.Size() > 0 {
		return err
	}
	return p.remove()
}

// IsPart reports whether a file's name is one that a download gives while it is under way.
func IsPart(name string) bool {
	return strings.HasSuffix(name, PartSuffix) || strings.HasSuffix(name, noteSuffix)
}
