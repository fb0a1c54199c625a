package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// bucketsKey is the list of buckets in a file.
const bucketsKey = "buckets"

// The keys of a bucket in that list. The other two are named and read as the variables whose place they take.
const (
	bucketNameKey    = "name"
	bucketRegionsKey = "regions"
)

// BucketReference returns what a bucket of a file's list says, in an order fit for documentation. Only a
// file has it: a Variable without a Name.
func BucketReference() []Variable {
	return []Variable{
		{Key: bucketNameKey, Allowed: bucket().allowed + "; unique",
			Help: "The bucket name that clients see. The first bucket is the default one: requests that name none mean it."},
		{Key: bucketRegionsKey, Allowed: "REGION: BUCKET, for one configured region or more; ACTIVE_REGION among them",
			Help: "The regions that have it, and what it is called there. Each has to exist, except in an embedded region, where it is made. No two may be the same bucket."},
		{Key: fileKey(staleVariable), Allowed: staleReads().allowed, Help: "This bucket's own " + staleVariable + ", in place of the setting of all."},
		{Key: fileKey(objectVariable), Allowed: objectSize().allowed, Help: "This bucket's own " + objectVariable + ", in place of the setting of all."},
	}
}

// listedBucket is a bucket of a file's list, as far as it could be read.
type listedBucket struct {
	Bucket
	key  string // buckets.photos; buckets[1] where its name cannot be used
	line int
	// lines are those of Regions; a name that cannot be used is "" there.
	lines []int
	// regionsAreWrong: nothing follows from a region that is not among Regions.
	regionsAreWrong bool
}

// listedBuckets reads the file's list. areAll is false where some bucket of it could not be read, so
// that nothing follows from a region that no bucket names.
func (l *loader) listedBuckets() (all []listedBucket, areAll bool) {
	const allowed = "a list of buckets, each with a name, and the regions that have it"
	f, list := l.file, l.file.buckets
	switch {
	case !f.isPlain(list, bucketsKey):
		return nil, false
	case list.Kind != yaml.SequenceNode || len(list.Content) == 0:
		f.refuse(list.Line, bucketsKey, "is not a list, or has nothing in it", allowed)
		return nil, false
	}
	lines := make(map[string]int)
	areAll = true
	for i, node := range list.Content {
		key := fmt.Sprintf("%s[%d]", bucketsKey, i)
		if !f.isPlain(node, key) {
			areAll = false
			continue
		}
		if node.Kind != yaml.MappingNode {
			f.refuse(node.Line, key, "is not a bucket", allowed)
			areAll = false
			continue
		}
		b := listedBucket{key: key, line: node.Line, Bucket: Bucket{StaleReads: l.cfg.StaleReads, MaxObjectBytes: l.cfg.MaxObjectBytes}}
		if b.Name = f.nameOf(node, key, "bucket", bucket(), lines); b.Name != "" {
			b.key, lines[b.Name] = bucketsKey+"."+b.Name, node.Line
		}
		l.readBucket(node, &b)
		areAll = areAll && !b.regionsAreWrong
		all = append(all, b)
	}
	return all, areAll
}

func (l *loader) readBucket(node *yaml.Node, b *listedBucket) {
	var known []string
	for _, v := range BucketReference() {
		known = append(known, v.Key)
	}
	l.file.eachKey(node, b.key+".", known, notASetting, func(key string, value *yaml.Node) {
		switch key {
		case bucketRegionsKey:
			l.readBucketRegions(value, b)
		case fileKey(staleVariable):
			readOwn(l.file, value, b.key+"."+key, staleReads(), &b.StaleReads)
		case fileKey(objectVariable):
			readOwn(l.file, value, b.key+"."+key, objectSize(), &b.MaxObjectBytes)
		}
	})
	if len(b.Regions) == 0 && !b.regionsAreWrong {
		l.file.refuse(b.line, b.key+"."+bucketRegionsKey, "is not set, or has no region in it", "one line or more REGION: BUCKET, with the regions "+strings.Join(l.regionNames(), ", "))
		b.regionsAreWrong = true
	}
}

// readBucketRegions reads what the bucket is called in each region that has it.
func (l *loader) readBucketRegions(block *yaml.Node, b *listedBucket) {
	known := l.regionNames()
	if l.file.regionsAreWrong { // a name may be that of a region whose own name is a mistake
		for i := 0; i < len(block.Content); i += 2 {
			if name := block.Content[i].Value; isName(name, "-_.") {
				known = append(known, name)
			}
		}
	}
	prefix := b.key + "." + bucketRegionsKey + "."
	before := len(l.file.mistakes)
	refused := 0
	l.file.eachKey(block, prefix, known, "is not a region that is configured", func(region string, value *yaml.Node) {
		atStart := len(l.file.mistakes)
		r := BucketRegion{Region: region}
		if !readOwn(l.file, value, prefix+region, bucket(), &r.Bucket) && len(l.file.mistakes) == atStart {
			l.file.refuse(value.Line, prefix+region, "has no name of a bucket", bucket().allowed)
		}
		refused += len(l.file.mistakes) - atStart
		b.Regions, b.lines = append(b.Regions, r), append(b.lines, value.Line)
	})
	b.regionsAreWrong = len(l.file.mistakes)-before > refused
}

// readOwn reads a value as the variable's of that kind is read; false where it says nothing, or is refused.
func readOwn[T any](f *file, node *yaml.Node, key string, k kind[T], field *T) bool {
	text, ok := f.textOf(node, key, k.allowed)
	if !ok || text == "" {
		return false
	}
	value, err := k.parse(text)
	if err != nil {
		f.refuseValue(node.Line, key, text, err.Error(), k.allowed)
		return false
	}
	*field = value
	return true
}

func (l *loader) regionNames() []string {
	var names []string
	for _, r := range l.cfg.Regions {
		names = append(names, r.Name)
	}
	return names
}

// refuseOneBucket refuses a variable that would be ignored in silence, since the file lists the buckets.
func (l *loader) refuseOneBucket(v variable) {
	if l.isSet(v.Name) {
		l.refuse(v.Name, "is set, and so is "+bucketsKey+" ("+l.file.place(l.file.buckets.Line)+"), which says what there is in which region", "one of the two")
	}
}

// resolveBuckets fills in the buckets: those that the file lists, or the one that BUCKET and its
// like name, in every region.
func (l *loader) resolveBuckets() {
	if l.file.buckets == nil {
		b := Bucket{Name: l.cfg.Bucket, StaleReads: l.cfg.StaleReads, MaxObjectBytes: l.cfg.MaxObjectBytes}
		for _, r := range l.cfg.Regions {
			b.Regions = append(b.Regions, BucketRegion{r.Name, r.Bucket})
		}
		l.cfg.Buckets = []Bucket{b}
		return
	}
	all, areAll := l.listedBuckets()
	l.checkBuckets(all)
	if areAll && !l.file.regionsAreWrong {
		l.checkIdleRegions(all)
	}
	order := l.regionNames()
	for _, b := range all {
		slices.SortFunc(b.Regions, func(x, y BucketRegion) int {
			return cmp.Compare(slices.Index(order, x.Region), slices.Index(order, y.Region))
		})
		l.cfg.Buckets = append(l.cfg.Buckets, b.Bucket)
	}
}

// checkBuckets refuses a bucket that the active region lacks, and two that are the same bucket: the
// writes of each would be changes behind the other's back.
func (l *loader) checkBuckets(all []listedBucket) {
	type seen struct {
		listed listedBucket
		at     int
	}
	var before []seen
	active := l.cfg.ActiveRegion
	for _, b := range all {
		if !b.regionsAreWrong && !l.isWrong(activeVariable) && !l.file.regionsAreWrong && !b.names(active) {
			l.file.refuse(b.line, b.key+"."+bucketRegionsKey, "lacks "+active+", the region that "+l.label(activeVariable)+" says is active, for all buckets", "the active region, and others")
		}
		for i, r := range b.Regions {
			for _, s := range before {
				if how := l.sameBucket(r, s.listed.Regions[s.at]); how != "" {
					l.file.refuseValue(b.lines[i], b.key+"."+bucketRegionsKey+"."+r.Region, r.Bucket,
						fmt.Sprintf("names the bucket of line %d, %s", s.listed.lines[s.at], how), "a bucket of its own for each bucket in each region")
					break
				}
			}
			before = append(before, seen{b, i})
		}
	}
}

// names reports whether the bucket has the region, with a name there or without.
func (b listedBucket) names(region string) bool {
	return slices.ContainsFunc(b.Regions, func(r BucketRegion) bool { return r.Region == region })
}

// sameBucket says where two names are those of one bucket, "" where they are not. Embedded regions
// have folders of their own.
func (l *loader) sameBucket(one, other BucketRegion) string {
	if one.Bucket == "" || one.Bucket != other.Bucket {
		return ""
	}
	if one.Region == other.Region {
		return "which is in the same region"
	}
	a, isConfigured := l.region(one.Region)
	b, areBoth := l.region(other.Region)
	if !isConfigured || !areBoth || a.Embedded() || b.Embedded() || l.isRegionWrong(a.Name) || l.isRegionWrong(b.Name) || a.service() != b.service() {
		return ""
	}
	return "which region " + b.Name + " has at the same endpoint"
}

func (l *loader) region(name string) (Region, bool) {
	i := slices.IndexFunc(l.cfg.Regions, func(r Region) bool { return r.Name == name })
	if i < 0 {
		return Region{}, false
	}
	return l.cfg.Regions[i], true
}

// checkIdleRegions refuses a region that has no bucket: whoever counts on a copy there has none.
func (l *loader) checkIdleRegions(all []listedBucket) {
	for _, name := range l.regionNames() {
		if !slices.ContainsFunc(all, func(b listedBucket) bool { return b.names(name) }) {
			l.file.refuse(l.file.buckets.Line, bucketsKey, "has no bucket in the region "+name, "a bucket or more in each configured region; or a list of "+regionsKey+" without that one")
		}
	}
}
