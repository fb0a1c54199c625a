package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// unread reports a setting that could not be read.
func (s *session) unread(check, permission string, err error) {
	switch {
	case isUnimplemented(err):
		s.add(check, NotSupported, "nothing to do: what the S3 has not, it does not do to objects", "the S3 has none (status %d)", statusOf(err))
	case isForbidden(err):
		s.add(check, Warning, "look yourself, or let these credentials read it ("+permission+")", "it must not be read: %s", said(err))
	default:
		s.add(check, Warning, "look yourself", "it cannot be read: %s", said(err))
	}
}

func (s *session) checkVersioning(ctx context.Context) {
	state, err := s.r.Versioning(ctx)
	switch {
	case err != nil:
		s.unread("versioning", "s3:GetBucketVersioning", err)
	case state == "Enabled":
		s.versioned = true
		s.add("versioning", Warning, "Tandem works with the newest versions only. What it overwrites or deletes stays, and the mark in .tandem/ is "+
			"rewritten each minute: add a lifecycle rule that expires noncurrent versions and lone delete markers", "enabled")
	case state == "Suspended":
		s.add("versioning", OK, "", "suspended: older versions stay, and no new ones are made")
	default:
		s.add("versioning", OK, "", "off")
	}
}

func (s *session) checkObjectLock(ctx context.Context) {
	lock, err := s.r.ObjectLock(ctx)
	switch {
	case err != nil:
		s.unread("object lock", "s3:GetBucketObjectLockConfiguration", err)
	case lock.Mode != "":
		s.add("object lock", Failed, "use a bucket without default retention: Tandem overwrites and deletes, and writes without the Content-MD5 "+
			"that such a bucket asks for", "every object is locked (%s) when it is written", lock.Mode)
	case lock.Enabled:
		s.add("object lock", Warning, "Tandem sets no locks and does not copy them: an object that somebody locks stays when it is deleted", "enabled, without default retention")
	default:
		s.add("object lock", OK, "", "off")
	}
}

// isLocked reports whether what is written here could not be removed.
func (s *session) isLocked() bool {
	for _, f := range s.report.Findings {
		if f.Check == "object lock" && f.Status == Failed {
			return true
		}
	}
	return false
}

func (s *session) checkLifecycle(ctx context.Context) {
	rules, err := s.r.Lifecycle(ctx)
	if err != nil {
		s.unread("lifecycle", "s3:GetLifecycleConfiguration", err)
		return
	}
	isSilent := true
	for _, rule := range rules {
		name := fmt.Sprintf("rule %q", rule.ID)
		if rule.Narrowed {
			name += " (some objects)"
		}
		scope := "every key"
		if rule.Prefix != "" {
			scope = fmt.Sprintf("keys that begin with %q", rule.Prefix)
		}
		isOurs := strings.HasPrefix(s3op.ReservedPrefix, rule.Prefix) || strings.HasPrefix(rule.Prefix, s3op.ReservedPrefix)
		switch {
		case rule.Expires && isOurs && !rule.Narrowed:
			s.add("lifecycle", Failed, "limit the rule to prefixes of your own: Tandem keeps its mark and the losers of conflicts below .tandem/, and does not "+
				"learn of what expires", "%s expires %s, .tandem/ included", name, scope)
		case rule.Expires:
			s.add("lifecycle", Warning, "have objects deleted through the gateway: it takes what expires behind its back for lost, and copies it again",
				"%s expires %s", name, scope)
		case rule.Transitions:
			s.add("lifecycle", Warning, "use no class whose objects must be restored before they are read: such a region does not answer, and another is asked",
				"%s moves %s to another storage class", name, scope)
		default:
			continue
		}
		isSilent = false
	}
	if isSilent {
		s.add("lifecycle", OK, "", "no rule expires or moves objects")
	}
}
