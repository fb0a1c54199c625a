package region

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// The rhythm of renewals.
const (
	RenewBefore   time.Duration = renewBefore
	RenewInterval time.Duration = renewInterval
	RenewTimeout  time.Duration = renewTimeout
)

// NewRenewed renews what an issuer hands out, as New has it of the SDK's chain.
func NewRenewed(issuer aws.CredentialsProvider) aws.CredentialsProvider {
	return &renewed{issuer: aws.NewCredentialsCache(issuer)}
}
