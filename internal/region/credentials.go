package region

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
)

const (
	// renewBefore is how long before their end credentials are renewed: a request must not
	// reach the region after it, and clocks differ.
	renewBefore = 5 * time.Minute
	// renewInterval is the time between two attempts while those in hand are still good.
	renewInterval = 10 * time.Second
	// renewTimeout is how long a request waits for new ones while it has others that are good.
	renewTimeout = 5 * time.Second
	// issuerTimeout bounds each request to whoever issues them: the SDK sets no bound, and
	// every request would wait for the one that hangs.
	issuerTimeout = 10 * time.Second
)

func credentialsFor(ctx context.Context, cfg Config, s3Region string) (aws.CredentialsProvider, error) {
	if cfg.AccessKey != "" {
		return credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, ""), nil
	}
	if cfg.SameAs != nil {
		return cfg.SameAs.credentials, nil
	}
	chain, err := awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithDefaultRegion(s3Region), // whose STS is asked, where AWS_REGION names none
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(issuerTimeout)))
	if err != nil {
		return nil, err
	}
	return &renewed{issuer: chain.Credentials}, nil
}

// renewed hands out the credentials of an issuer, and others in good time before they
// expire. Where those cannot be had, the ones in hand are used to their end. It is safe for
// concurrent use: one request at a time renews, the others go on with what there is.
type renewed struct {
	issuer aws.CredentialsProvider
	mu     struct {
		sync.Mutex
		held aws.Credentials
		// next is when they may be asked for again while held are good.
		next time.Time
	}
}

func (r *renewed) Retrieve(ctx context.Context) (aws.Credentials, error) {
	held, isDue := r.take(time.Now())
	if !isDue {
		return held, nil
	}
	waiting := ctx
	if isGood(held, time.Now()) {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, renewTimeout)
		defer cancel()
	}
	fresh, err := r.issuer.Retrieve(waiting)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.mu.held = fresh
		return fresh, nil
	}
	// An instance's keys work past their end where AWS cannot issue others.
	if isGood(held, time.Now()) || held.HasKeys() && held.Source == ec2rolecreds.ProviderName {
		return held, nil
	}
	return aws.Credentials{}, err
}

// take returns what is held, and whether it is for the caller to renew it.
func (r *renewed) take(now time.Time) (held aws.Credentials, isDue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held = r.mu.held
	if !isGood(held, now) {
		return held, true
	}
	if !held.CanExpire || now.Before(held.Expires.Add(-renewBefore)) || now.Before(r.mu.next) {
		return held, false
	}
	r.mu.next = now.Add(renewInterval)
	if cache, ok := r.issuer.(*aws.CredentialsCache); ok {
		cache.Invalidate() // it would hand out the same ones to their end
	}
	return held, true
}

func isGood(c aws.Credentials, now time.Time) bool {
	return c.HasKeys() && (!c.CanExpire || now.Before(c.Expires))
}
