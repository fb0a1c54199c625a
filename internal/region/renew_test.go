package region_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"

	"github.com/gnew/tandem/internal/region"
)

var errDown = errors.New("the issuer is down")

// clockwork issues credentials in a bubble. One test goroutine at a time uses it.
type clockwork struct {
	source   string
	lifetime time.Duration
	down     func() bool
	hang     chan struct{}
	asked    int
}

func (c *clockwork) Retrieve(context.Context) (aws.Credentials, error) {
	c.asked++
	if c.hang != nil {
		<-c.hang // the SDK lets nobody cancel it
	}
	if c.down != nil && c.down() {
		return aws.Credentials{}, errDown
	}
	return aws.Credentials{
		AccessKeyID: fmt.Sprint("key-", c.asked), SecretAccessKey: "secret", SessionToken: "token", Source: c.source,
		CanExpire: c.lifetime > 0, Expires: time.Now().Add(c.lifetime),
	}, nil
}

func TestCredentialsAreRenewedBeforeTheyExpire(t *testing.T) {
	for _, c := range []struct {
		lifetime    time.Duration
		most, least int           // times that the issuer is asked in a day
		left        time.Duration // of what a request is signed with
	}{
		{time.Hour, 27, 26, region.RenewBefore - time.Second},
		{15 * time.Minute, 145, 143, region.RenewBefore - time.Second},
		{time.Minute, 24*60*6 + 1, 24*60*6 - 1, time.Minute - region.RenewInterval}, // shorter than the time before which they are renewed
		{0, 1, 1, 0}, // they never expire
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer := &clockwork{lifetime: c.lifetime}
			r := region.NewRenewed(issuer)
			for began := time.Now(); time.Since(began) < 24*time.Hour; time.Sleep(time.Second) {
				creds, err := r.Retrieve(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if left := time.Until(creds.Expires); creds.CanExpire && left < c.left {
					t.Fatalf("lifetime %s: a request is signed with credentials that are good for %s more, want %s", c.lifetime, left, c.left)
				}
			}
			if issuer.asked < c.least || issuer.asked > c.most {
				t.Errorf("lifetime %s: the issuer was asked %d times in a day, want %d to %d", c.lifetime, issuer.asked, c.least, c.most)
			}
		})
	}
}

func TestCredentialsAreUsedToTheirEndWhileNobodyIssuesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		issuer := &clockwork{lifetime: time.Hour}
		issuer.down = func() bool { return time.Since(began) > 30*time.Minute && time.Since(began) < 70*time.Minute }
		r := region.NewRenewed(issuer)
		for ; time.Since(began) < 2*time.Hour; time.Sleep(time.Second) {
			creds, err := r.Retrieve(t.Context())
			switch at := time.Since(began); {
			case at < time.Hour && (err != nil || creds.AccessKeyID != "key-1"):
				t.Fatalf("after %s: got %s (%v), want the first, which is good", at, creds.AccessKeyID, err)
			case at >= time.Hour && at < 70*time.Minute && !errors.Is(err, errDown):
				t.Fatalf("after %s: got %s (%v), want the issuer's error: the first is not good any more", at, creds.AccessKeyID, err)
			case at >= 70*time.Minute && (err != nil || creds.AccessKeyID == "key-1"):
				t.Fatalf("after %s: got %s (%v), want another", at, creds.AccessKeyID, err)
			case at == time.Hour-time.Second && issuer.asked > 1+int(region.RenewBefore/region.RenewInterval):
				t.Errorf("the issuer that is down was asked %d times in %s, want one in %s at most", issuer.asked-1, region.RenewBefore, region.RenewInterval)
			}
		}
	})
}

func TestKeysOfAnInstanceAreUsedPastTheirEndWhileNobodyIssuesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		issuer := &clockwork{lifetime: time.Hour, source: ec2rolecreds.ProviderName}
		issuer.down = func() bool { return time.Since(began) > 0 }
		r := region.NewRenewed(issuer)
		for ; time.Since(began) < 2*time.Hour; time.Sleep(time.Second) {
			if creds, err := r.Retrieve(t.Context()); err != nil || creds.AccessKeyID != "key-1" {
				t.Fatalf("after %s: got %s (%v), want the first", time.Since(began), creds.AccessKeyID, err)
			}
		}
	})
}

func TestAnIssuerThatHangsHoldsUpNobodyWhoHasCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &clockwork{lifetime: time.Hour}
		r := region.NewRenewed(issuer)
		ask := func() (took time.Duration) {
			began := time.Now()
			if creds, err := r.Retrieve(t.Context()); err != nil || creds.AccessKeyID != "key-1" {
				t.Errorf("got %s (%v), want the first", creds.AccessKeyID, err)
			}
			return time.Since(began)
		}
		ask()
		issuer.hang = make(chan struct{})
		defer synctest.Wait()
		defer close(issuer.hang)
		time.Sleep(time.Hour - region.RenewBefore)
		renews := make(chan time.Duration)
		go func() { renews <- ask() }()
		synctest.Wait()
		for range 10 {
			if took := ask(); took > 0 {
				t.Errorf("a request waited %s beside the one that renews", took)
			}
		}
		if took := <-renews; took != region.RenewTimeout {
			t.Errorf("the request that renews waited %s, want %s", took, region.RenewTimeout)
		}
	})
}
