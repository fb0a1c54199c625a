package s3op

import "slices"

// Operation is AWS's name of an S3 operation, such as "PutObject". Two that
// its model does not name are PostObject, an upload by a browser's form, and CORSPreflight.
type Operation string

// Level is what the path of a request names.
type Level string

// The levels.
const (
	ServiceLevel Level = "service"
	BucketLevel  Level = "bucket"
	ObjectLevel  Level = "object"
)

// Class is what decides the way of a request: who may answer it, and whether
// the journal has to know.
type Class string

// The classes.
const (
	// ReadObject is answered by any region whose copy of the key is current.
	ReadObject Class = "read object"
	// ReadBucket is a listing or a bucket's configuration.
	ReadBucket Class = "read bucket"
	// ReadService lists the buckets.
	ReadService Class = "read service"
	// WriteObject changes keys: it is journaled before it can be applied.
	WriteObject Class = "write object"
	// StageMultipart goes to the active alone, and is not journaled: no key
	// changes before the upload is completed.
	StageMultipart Class = "stage multipart"
	// WriteBucket creates, deletes or configures a bucket, in every region.
	WriteBucket Class = "write bucket"
	// Preflight is a browser's question whether it may ask.
	Preflight Class = "preflight"
	// Refused is answered with NotImplemented, for the reason in Info.Why.
	Refused Class = "refused"
)

// Info is an operation: how a request says that it is meant, and what follows.
type Info struct {
	Operation Operation
	Method    string
	Level     Level
	// Subresource is the query key that selects the operation, whatever its value; "" is none.
	Subresource string
	// Parameter is another query parameter that it takes, as "name" or "name=value"; "" is none.
	Parameter string
	// Header is a header that it takes, with any value; "" is none.
	Header string
	Class  Class
	// ActiveOnly is true of a read whose answer is another one in each region:
	// unfinished uploads and the ids of versions are a region's own.
	ActiveOnly bool
	// Why is the reason for which the operation is refused; "" is none.
	Why string
}

const (
	noDirectoryBuckets = "Directory buckets are of one zone of AWS alone, and their sessions sign with keys of their own."
	noMetadataTables   = "The tables are in one region of AWS, and would tell of that region's writes and not of the bucket's."
)

// operations has every operation of S3. Of two that a request fits, the first
// is meant. OPTIONS fits whatever the query, which is that of the request to come.
// Source: Amazon S3 API Reference, and the AWS SDK's model of 2006-03-01.
var operations = [...]Info{
	{Operation: "ListDirectoryBuckets", Method: "GET", Level: ServiceLevel, Parameter: "x-id=ListDirectoryBuckets", Class: Refused, Why: noDirectoryBuckets},
	{Operation: "ListBuckets", Method: "GET", Level: ServiceLevel, Class: ReadService},

	{Operation: "CORSPreflight", Method: "OPTIONS", Level: BucketLevel, Class: Preflight},
	{Operation: "CORSPreflight", Method: "OPTIONS", Level: ObjectLevel, Class: Preflight},

	{Operation: "HeadBucket", Method: "HEAD", Level: BucketLevel, Class: ReadBucket},
	{Operation: "ListObjectsV2", Method: "GET", Level: BucketLevel, Parameter: "list-type=2", Class: ReadBucket},
	{Operation: "ListObjects", Method: "GET", Level: BucketLevel, Class: ReadBucket},
	{Operation: "ListObjectVersions", Method: "GET", Level: BucketLevel, Subresource: "versions", Class: ReadBucket, ActiveOnly: true},
	{Operation: "ListMultipartUploads", Method: "GET", Level: BucketLevel, Subresource: "uploads", Class: ReadBucket, ActiveOnly: true},
	{Operation: "CreateBucket", Method: "PUT", Level: BucketLevel, Class: WriteBucket},
	{Operation: "DeleteBucket", Method: "DELETE", Level: BucketLevel, Class: WriteBucket},
	{Operation: "CreateSession", Method: "GET", Level: BucketLevel, Subresource: "session", Class: Refused, Why: noDirectoryBuckets},

	{Operation: "GetBucketAbac", Method: "GET", Level: BucketLevel, Subresource: "abac", Class: ReadBucket},
	{Operation: "PutBucketAbac", Method: "PUT", Level: BucketLevel, Subresource: "abac", Class: WriteBucket},
	{Operation: "GetBucketAccelerateConfiguration", Method: "GET", Level: BucketLevel, Subresource: "accelerate", Class: ReadBucket},
	{Operation: "PutBucketAccelerateConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "accelerate", Class: WriteBucket},
	{Operation: "GetBucketAcl", Method: "GET", Level: BucketLevel, Subresource: "acl", Class: ReadBucket},
	{Operation: "PutBucketAcl", Method: "PUT", Level: BucketLevel, Subresource: "acl", Class: WriteBucket},
	{Operation: "GetBucketAnalyticsConfiguration", Method: "GET", Level: BucketLevel, Subresource: "analytics", Parameter: "id", Class: ReadBucket},
	{Operation: "ListBucketAnalyticsConfigurations", Method: "GET", Level: BucketLevel, Subresource: "analytics", Class: ReadBucket},
	{Operation: "PutBucketAnalyticsConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "analytics", Class: WriteBucket},
	{Operation: "DeleteBucketAnalyticsConfiguration", Method: "DELETE", Level: BucketLevel, Subresource: "analytics", Class: WriteBucket},
	{Operation: "GetBucketCors", Method: "GET", Level: BucketLevel, Subresource: "cors", Class: ReadBucket},
	{Operation: "PutBucketCors", Method: "PUT", Level: BucketLevel, Subresource: "cors", Class: WriteBucket},
	{Operation: "DeleteBucketCors", Method: "DELETE", Level: BucketLevel, Subresource: "cors", Class: WriteBucket},
	{Operation: "GetBucketEncryption", Method: "GET", Level: BucketLevel, Subresource: "encryption", Class: ReadBucket},
	{Operation: "PutBucketEncryption", Method: "PUT", Level: BucketLevel, Subresource: "encryption", Class: WriteBucket},
	{Operation: "DeleteBucketEncryption", Method: "DELETE", Level: BucketLevel, Subresource: "encryption", Class: WriteBucket},
	{Operation: "GetBucketIntelligentTieringConfiguration", Method: "GET", Level: BucketLevel, Subresource: "intelligent-tiering", Parameter: "id", Class: ReadBucket},
	{Operation: "ListBucketIntelligentTieringConfigurations", Method: "GET", Level: BucketLevel, Subresource: "intelligent-tiering", Class: ReadBucket},
	{Operation: "PutBucketIntelligentTieringConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "intelligent-tiering", Class: WriteBucket},
	{Operation: "DeleteBucketIntelligentTieringConfiguration", Method: "DELETE", Level: BucketLevel, Subresource: "intelligent-tiering", Class: WriteBucket},
	{Operation: "GetBucketInventoryConfiguration", Method: "GET", Level: BucketLevel, Subresource: "inventory", Parameter: "id", Class: ReadBucket},
	{Operation: "ListBucketInventoryConfigurations", Method: "GET", Level: BucketLevel, Subresource: "inventory", Class: ReadBucket},
	{Operation: "PutBucketInventoryConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "inventory", Class: WriteBucket},
	{Operation: "DeleteBucketInventoryConfiguration", Method: "DELETE", Level: BucketLevel, Subresource: "inventory", Class: WriteBucket},
	{Operation: "GetBucketLifecycleConfiguration", Method: "GET", Level: BucketLevel, Subresource: "lifecycle", Class: ReadBucket},
	{Operation: "PutBucketLifecycleConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "lifecycle", Class: WriteBucket},
	{Operation: "DeleteBucketLifecycle", Method: "DELETE", Level: BucketLevel, Subresource: "lifecycle", Class: WriteBucket},
	{Operation: "GetBucketLocation", Method: "GET", Level: BucketLevel, Subresource: "location", Class: ReadBucket},
	{Operation: "GetBucketLogging", Method: "GET", Level: BucketLevel, Subresource: "logging", Class: ReadBucket},
	{Operation: "PutBucketLogging", Method: "PUT", Level: BucketLevel, Subresource: "logging", Class: WriteBucket},
	{Operation: "UpdateBucketMetadataAnnotationTableConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "metadataAnnotationTable", Class: Refused, Why: noMetadataTables},
	{Operation: "GetBucketMetadataConfiguration", Method: "GET", Level: BucketLevel, Subresource: "metadataConfiguration", Class: ReadBucket},
	{Operation: "CreateBucketMetadataConfiguration", Method: "POST", Level: BucketLevel, Subresource: "metadataConfiguration", Class: Refused, Why: noMetadataTables},
	{Operation: "DeleteBucketMetadataConfiguration", Method: "DELETE", Level: BucketLevel, Subresource: "metadataConfiguration", Class: WriteBucket},
	{Operation: "UpdateBucketMetadataInventoryTableConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "metadataInventoryTable", Class: Refused, Why: noMetadataTables},
	{Operation: "UpdateBucketMetadataJournalTableConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "metadataJournalTable", Class: Refused, Why: noMetadataTables},
	{Operation: "GetBucketMetadataTableConfiguration", Method: "GET", Level: BucketLevel, Subresource: "metadataTable", Class: ReadBucket},
	{Operation: "CreateBucketMetadataTableConfiguration", Method: "POST", Level: BucketLevel, Subresource: "metadataTable", Class: Refused, Why: noMetadataTables},
	{Operation: "DeleteBucketMetadataTableConfiguration", Method: "DELETE", Level: BucketLevel, Subresource: "metadataTable", Class: WriteBucket},
	{Operation: "GetBucketMetricsConfiguration", Method: "GET", Level: BucketLevel, Subresource: "metrics", Parameter: "id", Class: ReadBucket},
	{Operation: "ListBucketMetricsConfigurations", Method: "GET", Level: BucketLevel, Subresource: "metrics", Class: ReadBucket},
	{Operation: "PutBucketMetricsConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "metrics", Class: WriteBucket},
	{Operation: "DeleteBucketMetricsConfiguration", Method: "DELETE", Level: BucketLevel, Subresource: "metrics", Class: WriteBucket},
	{Operation: "GetBucketNotificationConfiguration", Method: "GET", Level: BucketLevel, Subresource: "notification", Class: ReadBucket},
	{Operation: "PutBucketNotificationConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "notification", Class: WriteBucket},
	{Operation: "GetObjectLockConfiguration", Method: "GET", Level: BucketLevel, Subresource: "object-lock", Class: ReadBucket},
	{Operation: "PutObjectLockConfiguration", Method: "PUT", Level: BucketLevel, Subresource: "object-lock", Class: WriteBucket},
	{Operation: "GetBucketOwnershipControls", Method: "GET", Level: BucketLevel, Subresource: "ownershipControls", Class: ReadBucket},
	{Operation: "PutBucketOwnershipControls", Method: "PUT", Level: BucketLevel, Subresource: "ownershipControls", Class: WriteBucket},
	{Operation: "DeleteBucketOwnershipControls", Method: "DELETE", Level: BucketLevel, Subresource: "ownershipControls", Class: WriteBucket},
	{Operation: "GetBucketPolicy", Method: "GET", Level: BucketLevel, Subresource: "policy", Class: ReadBucket},
	{Operation: "PutBucketPolicy", Method: "PUT", Level: BucketLevel, Subresource: "policy", Class: WriteBucket},
	{Operation: "DeleteBucketPolicy", Method: "DELETE", Level: BucketLevel, Subresource: "policy", Class: WriteBucket},
	{Operation: "GetBucketPolicyStatus", Method: "GET", Level: BucketLevel, Subresource: "policyStatus", Class: ReadBucket},
	{Operation: "GetPublicAccessBlock", Method: "GET", Level: BucketLevel, Subresource: "publicAccessBlock", Class: ReadBucket},
	{Operation: "PutPublicAccessBlock", Method: "PUT", Level: BucketLevel, Subresource: "publicAccessBlock", Class: WriteBucket},
	{Operation: "DeletePublicAccessBlock", Method: "DELETE", Level: BucketLevel, Subresource: "publicAccessBlock", Class: WriteBucket},
	{Operation: "GetBucketReplication", Method: "GET", Level: BucketLevel, Subresource: "replication", Class: ReadBucket},
	{Operation: "PutBucketReplication", Method: "PUT", Level: BucketLevel, Subresource: "replication", Class: Refused,
		Why: "A region that replicates by itself writes beside Tandem, which then cannot say which copy is current."},
	{Operation: "DeleteBucketReplication", Method: "DELETE", Level: BucketLevel, Subresource: "replication", Class: WriteBucket},
	{Operation: "GetBucketRequestPayment", Method: "GET", Level: BucketLevel, Subresource: "requestPayment", Class: ReadBucket},
	{Operation: "PutBucketRequestPayment", Method: "PUT", Level: BucketLevel, Subresource: "requestPayment", Class: WriteBucket},
	{Operation: "GetBucketTagging", Method: "GET", Level: BucketLevel, Subresource: "tagging", Class: ReadBucket},
	{Operation: "PutBucketTagging", Method: "PUT", Level: BucketLevel, Subresource: "tagging", Class: WriteBucket},
	{Operation: "DeleteBucketTagging", Method: "DELETE", Level: BucketLevel, Subresource: "tagging", Class: WriteBucket},
	{Operation: "GetBucketVersioning", Method: "GET", Level: BucketLevel, Subresource: "versioning", Class: ReadBucket},
	{Operation: "PutBucketVersioning", Method: "PUT", Level: BucketLevel, Subresource: "versioning", Class: WriteBucket},
	{Operation: "GetBucketWebsite", Method: "GET", Level: BucketLevel, Subresource: "website", Class: ReadBucket},
	{Operation: "PutBucketWebsite", Method: "PUT", Level: BucketLevel, Subresource: "website", Class: WriteBucket},
	{Operation: "DeleteBucketWebsite", Method: "DELETE", Level: BucketLevel, Subresource: "website", Class: WriteBucket},

	{Operation: "DeleteObjects", Method: "POST", Level: BucketLevel, Subresource: "delete", Class: WriteObject},
	{Operation: "WriteGetObjectResponse", Method: "POST", Level: BucketLevel, Header: "X-Amz-Request-Route", Class: Refused,
		Why: "It answers a request that AWS handed to a function of its own; none of ours is."},
	{Operation: "PostObject", Method: "POST", Level: BucketLevel, Class: WriteObject},

	{Operation: "HeadObject", Method: "HEAD", Level: ObjectLevel, Class: ReadObject},
	{Operation: "GetObject", Method: "GET", Level: ObjectLevel, Class: ReadObject},
	{Operation: "CopyObject", Method: "PUT", Level: ObjectLevel, Header: copySource, Class: WriteObject},
	{Operation: "PutObject", Method: "PUT", Level: ObjectLevel, Class: WriteObject},
	{Operation: "DeleteObject", Method: "DELETE", Level: ObjectLevel, Class: WriteObject},

	{Operation: "CreateMultipartUpload", Method: "POST", Level: ObjectLevel, Subresource: "uploads", Class: StageMultipart},
	{Operation: "UploadPartCopy", Method: "PUT", Level: ObjectLevel, Subresource: "uploadId", Parameter: "partNumber", Header: copySource, Class: StageMultipart},
	{Operation: "UploadPart", Method: "PUT", Level: ObjectLevel, Subresource: "uploadId", Parameter: "partNumber", Class: StageMultipart},
	{Operation: "ListParts", Method: "GET", Level: ObjectLevel, Subresource: "uploadId", Class: ReadObject, ActiveOnly: true},
	{Operation: "AbortMultipartUpload", Method: "DELETE", Level: ObjectLevel, Subresource: "uploadId", Class: StageMultipart},
	{Operation: "CompleteMultipartUpload", Method: "POST", Level: ObjectLevel, Subresource: "uploadId", Class: WriteObject},

	{Operation: "GetObjectAcl", Method: "GET", Level: ObjectLevel, Subresource: "acl", Class: ReadObject},
	{Operation: "PutObjectAcl", Method: "PUT", Level: ObjectLevel, Subresource: "acl", Class: WriteObject},
	{Operation: "GetObjectAnnotation", Method: "GET", Level: ObjectLevel, Subresource: "annotation", Parameter: "annotationName", Class: ReadObject},
	{Operation: "ListObjectAnnotations", Method: "GET", Level: ObjectLevel, Subresource: "annotation", Class: ReadObject},
	{Operation: "PutObjectAnnotation", Method: "PUT", Level: ObjectLevel, Subresource: "annotation", Class: Refused,
		Why: "An annotation is a body of its own beside the object's, and no copy of the object would have it."},
	{Operation: "DeleteObjectAnnotation", Method: "DELETE", Level: ObjectLevel, Subresource: "annotation", Class: WriteObject},
	{Operation: "GetObjectAttributes", Method: "GET", Level: ObjectLevel, Subresource: "attributes", Class: ReadObject},
	{Operation: "UpdateObjectEncryption", Method: "PUT", Level: ObjectLevel, Subresource: "encryption", Class: Refused,
		Why: "It names a key of AWS's KMS, which the other regions do not have."},
	{Operation: "GetObjectLegalHold", Method: "GET", Level: ObjectLevel, Subresource: "legal-hold", Class: ReadObject},
	{Operation: "PutObjectLegalHold", Method: "PUT", Level: ObjectLevel, Subresource: "legal-hold", Class: WriteObject},
	{Operation: "RenameObject", Method: "PUT", Level: ObjectLevel, Subresource: "renameObject", Class: Refused, Why: noDirectoryBuckets},
	{Operation: "RestoreObject", Method: "POST", Level: ObjectLevel, Subresource: "restore", Class: WriteObject},
	{Operation: "GetObjectRetention", Method: "GET", Level: ObjectLevel, Subresource: "retention", Class: ReadObject},
	{Operation: "PutObjectRetention", Method: "PUT", Level: ObjectLevel, Subresource: "retention", Class: WriteObject},
	{Operation: "SelectObjectContent", Method: "POST", Level: ObjectLevel, Subresource: "select", Class: ReadObject},
	{Operation: "GetObjectTagging", Method: "GET", Level: ObjectLevel, Subresource: "tagging", Class: ReadObject},
	{Operation: "PutObjectTagging", Method: "PUT", Level: ObjectLevel, Subresource: "tagging", Class: WriteObject},
	{Operation: "DeleteObjectTagging", Method: "DELETE", Level: ObjectLevel, Subresource: "tagging", Class: WriteObject},
	{Operation: "GetObjectTorrent", Method: "GET", Level: ObjectLevel, Subresource: "torrent", Class: ReadObject},
}

const copySource = "X-Amz-Copy-Source"

// bySubresource has the operations in their order under the sub-resource that
// selects them, "" where none does.
var bySubresource = groupBySubresource(operations[:])

func groupBySubresource(operations []Info) map[string][]Info {
	groups := make(map[string][]Info)
	for _, o := range operations {
		groups[o.Subresource] = append(groups[o.Subresource], o)
	}
	return groups
}

// Operations returns every operation, refused ones included. The slice is the
// caller's.
func Operations() []Info { return slices.Clone(operations[:]) }
