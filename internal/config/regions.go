package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// awsEndpoint has no region in it; it stands for the AWS region that is named beside it.
	awsEndpoint     = "https://s3.amazonaws.com"
	defaultS3Region = "us-east-1"
)

// resolveRegions leaves in Config.Regions the regions that there are, completed. With
// no variable of any region set, all are embedded; otherwise those are there of which a
// variable is set, and the first has to be among them. A region that a file names is there in any
// case, and has to say where it is unless no region does.
func (l *loader) resolveRegions() {
	drafts := l.cfg.Regions
	l.cfg.Regions = nil
	embedded := !slices.ContainsFunc(drafts, func(r Region) bool { return l.isConfigured(r) })
	for i, r := range drafts {
		switch {
		case embedded:
			r.embed(filepath.Join(l.cfg.DataDir, "regions", r.Name))
		case l.isConfigured(r), l.file.regions != nil:
			l.completeRegion(&r)
			l.checkCA(r)
		case i > 0:
			continue
		default:
			l.refuse(regionPrefix(r.Name)+"ENDPOINT", "is not set, nor is any other variable of the first region, but one of another region is",
				"the first region alone, all regions, or none (then all are embedded)")
		}
		l.cfg.Regions = append(l.cfg.Regions, r)
	}
	l.checkDistinct()
}

func (l *loader) isConfigured(r Region) bool { return len(l.variablesOf(r)) > 0 }

// variablesOf returns what the region's variables that are set are called.
func (l *loader) variablesOf(r Region) []string {
	var names []string
	for _, v := range l.table {
		if l.isSet(v.Name) && v.region == r.Name && !l.isOutOfPlace(v) {
			names = append(names, l.label(v.Name))
		}
	}
	return names
}

// embed makes r the embedded region of a folder.
func (r *Region) embed(dir string) {
	r.EmbeddedDir, r.Endpoint = dir, ""
	r.S3Region = cmp.Or(r.S3Region, defaultS3Region)
	r.ForcePathStyle = true
}

// completeRegion checks a configured region's variables against each other and fills
// in what follows from them.
func (l *loader) completeRegion(r *Region) {
	prefix := regionPrefix(r.Name)
	if dir, ok := strings.CutPrefix(r.Endpoint, folderScheme); ok {
		r.embed(dir)
		for _, key := range []string{prefix + "ACCESS_KEY", prefix + "SECRET_KEY"} {
			if l.isSet(key) {
				l.refuse(key, "is set, but the region is a folder ("+l.label(prefix+"ENDPOINT")+")", "not set: the gateway makes the keys of an embedded region")
			}
		}
		return
	}
	l.checkKeys(prefix+"ACCESS_KEY", prefix+"SECRET_KEY")
	l.checkKeys(prefix+"SECRET_KEY", prefix+"ACCESS_KEY")
	if l.isWrong(prefix+"ENDPOINT") || l.isWrong(prefix+"REGION") {
		return
	}
	if r.S3Region == "" {
		switch r.Endpoint {
		case "":
			but := strings.Join(l.variablesOf(*r), ", ") + " is"
			if !l.isConfigured(*r) {
				but = "other regions say where they are"
			}
			l.refuse(prefix+"ENDPOINT", "is not set, nor is "+l.label(prefix+"REGION")+", but "+but,
				"an endpoint, an AWS region's name in "+l.label(prefix+"REGION")+", or both; or no variable of any region, for embedded ones")
		case awsEndpoint:
			l.refuse(prefix+"REGION", "is not set, but "+l.label(prefix+"ENDPOINT")+" is that of all AWS regions", "the name of an AWS region, such as eu-west-1")
		}
	}
	if r.Endpoint == awsEndpoint {
		r.Endpoint = ""
	}
	host := r.url().Hostname()
	r.S3Region = cmp.Or(r.S3Region, awsRegion(host), defaultS3Region)
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		r.ForcePathStyle = true
	}
}

// checkKeys refuses the one key to be set without the other.
func (l *loader) checkKeys(one, other string) {
	if l.isSet(one) && !l.isSet(other) {
		l.refuse(other, "is not set, but "+l.label(one)+" is", "both keys, or neither (then the AWS SDK's default credential chain applies)")
	}
}

// url returns the region's endpoint, all of it empty where the region has none.
func (r Region) url() *url.URL {
	u, err := url.Parse(r.Endpoint)
	if err != nil {
		return new(url.URL) // not reached: the endpoint was put together from a parsed one
	}
	return u
}

// awsRegion returns the region that an endpoint such as s3.eu-west-1.amazonaws.com
// names, or "". A signature for another one would be refused.
func awsRegion(host string) string {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(host, ".cn"), "s3.")
	region, aws := strings.CutSuffix(rest, ".amazonaws.com")
	if !ok || !aws || strings.Contains(region, ".") {
		return ""
	}
	return region
}

// checkDistinct refuses two regions over the same objects: every copy would be its own
// source, and a failover would change nothing.
func (l *loader) checkDistinct() {
	for i, r := range l.cfg.Regions {
		for _, earlier := range l.cfg.Regions[:i] {
			if l.isRegionWrong(r.Name) || l.isRegionWrong(earlier.Name) {
				continue
			}
			switch {
			case r.Embedded() && earlier.Embedded():
				if isWithin(r.EmbeddedDir, earlier.EmbeddedDir) || isWithin(earlier.EmbeddedDir, r.EmbeddedDir) {
					l.refuse(regionPrefix(r.Name)+"ENDPOINT", "is the folder of region "+earlier.Name+", or one is inside the other",
						"a folder of its own for each region")
				}
			case l.file.buckets != nil: // which checkBuckets holds against each other
			case !r.Embedded() && !earlier.Embedded() && r.Bucket == earlier.Bucket && r.service() == earlier.service():
				l.refuse(regionPrefix(r.Name)+"BUCKET", "names the bucket of region "+earlier.Name+" ("+r.Bucket+" at the same endpoint)",
					"a bucket of its own for each region")
			}
		}
	}
}

// service returns a text that is equal for two regions where a bucket name means the
// same bucket in both. AWS is one such service as a whole, except that China and the
// US government have bucket names of their own.
func (r Region) service() string {
	endpoint := r.url()
	host, port := endpoint.Hostname(), endpoint.Port()
	switch {
	case host == "", strings.HasSuffix(host, ".amazonaws.com"), strings.HasSuffix(host, ".amazonaws.com.cn"):
		for _, partition := range []string{"cn-", "us-gov-"} {
			if strings.HasPrefix(r.S3Region, partition) {
				return "aws " + partition
			}
		}
		return "aws"
	case host == "localhost":
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, cmp.Or(port, map[string]string{"http": "80", "https": "443"}[endpoint.Scheme]))
}

// checkFolders keeps what the gateway owns out of the folders of embedded regions,
// where it would be a bucket or an object, open to clients.
func (l *loader) checkFolders() {
	own := []struct{ variable, path string }{{dataVariable, l.cfg.DataDir}, {databaseVariable, l.cfg.DatabasePath}}
	for _, r := range l.cfg.Regions {
		for _, o := range own {
			if r.Embedded() && isWithin(o.path, r.EmbeddedDir) {
				dir := strings.Trim(strconv.Quote(r.EmbeddedDir), `"`) // a mistake is one line
				l.refuse(o.variable, "is in the folder of region "+r.Name+" ("+dir+")", "a place outside the folders of all regions")
				break // the database follows the data folder by default
			}
		}
	}
}

// isWithin reports whether a path is dir or below it. Links are not followed.
func isWithin(path, dir string) bool {
	rel, err := filepath.Rel(absolute(dir), absolute(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path // without a working directory relative paths compare among themselves
	}
	return abs
}
