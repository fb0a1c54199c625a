package restapi

import (
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// operations is everything that can be asked for. What is not here is not served, and what is here is in the document.
func (a *API) operations() []operation {
	read := about{
		tag: tagObjects, summary: "Fetch an object",
		detail: "From the active region; where that fails, from a replica that holds the acknowledged version. The headers say which, and how fresh it is. " +
			"What was stored with the object comes with it: Content-Type, Cache-Control, X-Amz-Meta-* and the like.",
		parameters: slices.Concat(readHeaders(), []*huma.Param{
			query("prefer", "Which region to ask first.", enum("active", "replica"), "replica"),
			query("repair", "Whether the active's copy is written again where a replica had to answer for it.", flagSchema(), "1"),
			allowStale(),
		}),
		responses: map[int]response{
			http.StatusOK:             {what: "The object.", always: objectHeaders(), sometimes: objectSometimes(), content: bytesOf("*/*")},
			http.StatusPartialContent: {what: "The part of it that Range asks for.", always: slices.Concat(objectHeaders(), []string{"Content-Range"}), sometimes: objectSometimes(), content: bytesOf("*/*")},
			http.StatusNotModified:    {what: "It is what If-None-Match or If-Modified-Since say.", sometimes: []string{"Cache-Control", "ETag", "Expires", "Last-Modified"}},
		},
		fails: merge(keyFails(), fails{
			http.StatusBadRequest:                   {"InvalidArgument", anyOfS3},
			http.StatusNotFound:                     {"NoSuchKey"},
			http.StatusConflict:                     {anyOfS3},
			http.StatusPreconditionFailed:           {"PreconditionFailed"},
			http.StatusRequestedRangeNotSatisfiable: {"InvalidRange"},
			http.StatusNotImplemented:               {"NotImplemented"},
			http.StatusServiceUnavailable:           {"ServiceUnavailable", "NotYetReplicated", "NotCompared"},
		}),
	}
	return []operation{
		{"PUT", "/objects/{key}", "PutObject", Objects, withKey(a.putObject), about{
			tag: tagObjects, summary: "Store an object",
			detail: "The body is the object: of any size, streamed, with or without Content-Length. Headers X-Amz-Meta-* are stored with it. " +
				"201 says that the active region has it and the journal knows; copies follow.",
			parameters: slices.Concat(storedHeaders(), checksumHeaders(), writeConditions(), waitHeaders()),
			takes:      textOfAnyType("# Read me\n"),
			responses: map[int]response{
				http.StatusCreated: {
					what: "It is stored.", always: []string{"ETag", "X-Tandem-Region", "X-Tandem-Version"}, sometimes: []string{regionsHeader},
					content: jsonOf(exampleWrite()),
				},
				http.StatusAccepted: notYetThere("ETag"),
			},
			fails: merge(keyFails(), fails{
				http.StatusBadRequest:            {"BadDigest", "InvalidDigest", "IncompleteBody", anyOfS3},
				http.StatusNotFound:              {"NoSuchKey"},
				http.StatusConflict:              {anyOfS3},
				http.StatusPreconditionFailed:    {"PreconditionFailed"},
				http.StatusRequestEntityTooLarge: {"EntityTooLarge"},
				http.StatusNotImplemented:        {"NotImplemented"},
				http.StatusServiceUnavailable:    {"ServiceUnavailable", "NotYetReplicated", "InsufficientStorage"},
			}),
		}},
		{"GET", "/objects/{key}", "GetObject", Objects, withKey(a.getObject), read},
		{"HEAD", "/objects/{key}", "HeadObject", Objects, withKey(a.getObject), read},
		{"DELETE", "/objects/{key}", "DeleteObject", Objects, withKey(a.deleteObject), about{
			tag: tagObjects, summary: "Delete an object", detail: "A key that is not there is no error.",
			parameters: slices.Concat([]*huma.Param{header("If-Match", "Only where the object has this ETag; * is any.", text(), "*")}, waitHeaders()),
			responses: map[int]response{
				http.StatusNoContent: {what: "It is deleted, and stays so.", always: []string{"X-Tandem-Region", "X-Tandem-Version"}, sometimes: []string{regionsHeader}},
				http.StatusAccepted:  notYetThere(),
			},
			fails: merge(keyFails(), fails{
				http.StatusBadRequest:         {anyOfS3},
				http.StatusNotFound:           {"NoSuchKey"},
				http.StatusConflict:           {anyOfS3},
				http.StatusPreconditionFailed: {"PreconditionFailed"},
				http.StatusNotImplemented:     {"NotImplemented"},
				http.StatusServiceUnavailable: {"ServiceUnavailable", "NotYetReplicated", "InsufficientStorage"},
			}),
		}},
		{"GET", "/objects", "ListObjects", Objects, ofBucket(a.listObjects), about{
			tag: tagObjects, summary: "List objects", detail: "A page of the active region's listing, put right by what the journal knows.",
			parameters: []*huma.Param{
				query("prefix", "Only keys that begin with it.", text(), "docs/"),
				query("delimiter", "Keys that go on beyond it are put together as one common prefix.", text(), "/"),
				query("cursor", "The cursor that the page before gave.", text(), ""),
				query("limit", "How many entries at most. Left out, 1000.", between(1, maxListed), 100),
				allowStale(),
			},
			responses: map[int]response{http.StatusOK: {
				what: "A page.", always: []string{"X-Tandem-Region", "X-Tandem-Freshness"}, sometimes: []string{"X-Tandem-Fallback"},
				content: jsonOf(listBody{
					Objects:        []listedBody{{exampleKey, exampleETag, 10, exampleTime}},
					CommonPrefixes: []string{}, Truncated: false,
				}),
			}},
			fails: fails{
				http.StatusBadRequest:         {"InvalidArgument", anyOfS3},
				http.StatusConflict:           {anyOfS3},
				http.StatusServiceUnavailable: {"ServiceUnavailable", "NotYetReplicated", "NotCompared"},
			},
		}},
		{"POST", "/objects", "PostObject", Objects, ofBucket(a.postObject), about{
			tag: tagObjects, summary: "Store an object as JSON", detail: "For small ones, from where bytes are hard to send.",
			parameters: slices.Concat(writeConditions(), waitHeaders()),
			takes: jsonNamed(map[string]postBody{
				"with a key":    {DataBase64: new("IyBSZWFkIG1lCg=="), Key: exampleKey, ContentType: "text/markdown"},
				"without a key": {DataBase64: new("IyBSZWFkIG1lCg==")},
			}),
			responses: map[int]response{
				http.StatusCreated: {
					what: "It is stored.", always: []string{"ETag", "Location", "X-Tandem-Region", "X-Tandem-Version"}, sometimes: []string{regionsHeader},
					content: jsonOf(exampleWrite()),
				},
				http.StatusAccepted: notYetThere("ETag", "Location"),
			},
			fails: merge(keyFails(), jsonFails(), fails{
				http.StatusBadRequest:         {anyOfS3},
				http.StatusNotFound:           {"NoSuchKey"},
				http.StatusConflict:           {anyOfS3},
				http.StatusPreconditionFailed: {"PreconditionFailed"},
				http.StatusNotImplemented:     {"NotImplemented"},
				http.StatusServiceUnavailable: {"ServiceUnavailable", "NotYetReplicated", "InsufficientStorage"},
			}),
		}},
		{"POST", "/sign", "Sign", Objects, ofBucket(a.postSign), about{
			tag: tagObjects, summary: "Presign a URL",
			detail: "It goes to a region, past the gateway. What is uploaded by it is found, indexed and replicated.",
			takes: jsonNamed(map[string]signBody{
				"upload":   {Op: "put", Key: exampleKey, ContentType: "text/markdown", ExpiresSec: new(int64(600))},
				"download": {Op: "get", Key: exampleKey, Region: "primary"},
			}),
			responses: map[int]response{http.StatusOK: {what: "The URL.", always: []string{"Cache-Control"}, content: jsonOf(signedBody{
				URL: "https://s3.eu-west-1.amazonaws.com/gnew-primary/docs/readme.md?X-Amz-Signature=…", Method: "PUT",
				Headers: map[string]string{"Content-Type": "text/markdown"}, Region: "primary", ExpiresAt: exampleTime, Notes: []string{"It goes to the region past the gateway."},
			})}},
			fails: merge(keyFails(), jsonFails(), fails{
				http.StatusBadRequest:         {anyOfS3},
				http.StatusConflict:           {"NotCompared", "NotSupported"},
				http.StatusServiceUnavailable: {"ServiceUnavailable", "InsufficientStorage"},
			}),
		}},
		{"GET", "/replication/{key}", "GetReplication", Objects, withKey(a.getReplication), about{
			tag: tagObjects, summary: "Where the copies of an object stand",
			responses: map[int]response{http.StatusOK: {what: "What is known of the key in each region.", content: jsonOf(replicationBody{
				Bucket: exampleBucket, Key: exampleKey, Version: "1-1", Settled: true, ETag: exampleETag, Size: 10, ContentType: "text/markdown", LastRegion: "primary",
				CreatedAt: exampleTime, UpdatedAt: exampleTime, Regions: []copyBody{{Region: "primary", State: "current", Version: "1-1", ETag: exampleETag}},
			})}},
			fails: merge(keyFails(), fails{
				http.StatusNotFound: {"NoSuchKey"}, http.StatusServiceUnavailable: {"ServiceUnavailable"},
			}),
		}},
		{readOnly, "/admin/state", "GetState", Admin, ofGateway(a.getState), about{
			tag: tagAdmin, summary: "Regions, and who is active",
			responses: map[int]response{http.StatusOK: {what: "The state of the gateway.", content: typeOf[stateBody]()}},
			fails:     fails{http.StatusServiceUnavailable: {"ServiceUnavailable"}},
		}},
		{readOnly, "/admin/stats", "GetStats", Admin, ofGateway(a.getStats), about{
			tag: tagAdmin, summary: "What was done", detail: "Since the start, and in the last minute, hour and day, from the counters of /metrics.",
			responses: map[int]response{http.StatusOK: {what: "The statistics.", content: typeOf[statsBody]()}},
			fails:     fails{http.StatusServiceUnavailable: {"ServiceUnavailable"}},
		}},
		{readOnly, "/admin/presigned", "ListPresigned", Admin, ofBucket(a.getPresigned), about{
			tag: tagAdmin, summary: "Presigned uploads that may yet bring something", parameters: pageParameters(),
			responses: map[int]response{http.StatusOK: {what: "A page.", content: typeOf[presignedPage]()}},
			fails:     fails{http.StatusBadRequest: {"InvalidArgument"}, http.StatusServiceUnavailable: {"ServiceUnavailable"}},
		}},
		{"POST", "/admin/failover/promote", "Promote", Admin, ofGateway(a.postPromote), about{
			tag: tagFailover, summary: "Promote a replica", detail: "Without a body: the replica that there is.",
			takes: optional(jsonNamed(map[string]promoteBody{
				"dry run": {DryRun: true},
				"promote": {Region: "secondary", Force: true, Reason: "moving to secondary"},
			})),
			responses: map[int]response{http.StatusOK: {what: "The promotion that was made, or what one would meet and cost.", content: oneOf(
				typeOf[failoverBody](), typeOf[dryRunBody](),
			)}},
			fails: merge(jsonFails(), fails{
				http.StatusNotFound:           {"NoSuchRegion"},
				http.StatusConflict:           {"AlreadyActive", "Overtaken", "PromotionRefused"},
				http.StatusServiceUnavailable: {"ServiceUnavailable"},
			}),
		}},
		{readOnly, "/admin/failovers", "ListFailovers", Admin, ofGateway(a.getFailovers), about{
			tag: tagFailover, summary: "Every promotion",
			responses: map[int]response{http.StatusOK: {what: "All of them.", content: typeOf[failoversBody]()}},
			fails:     fails{http.StatusServiceUnavailable: {"ServiceUnavailable"}},
		}},
		{readOnly, "/admin/failovers/{epoch}", "GetFailover", Admin, withNumber("epoch", a.getFailover), about{
			tag: tagFailover, summary: "One promotion",
			responses: map[int]response{http.StatusOK: {what: "The promotion.", content: typeOf[failoverBody]()}},
			fails:     fails{http.StatusNotFound: {"NoSuchFailover"}, http.StatusServiceUnavailable: {"ServiceUnavailable"}},
		}},
		{readOnly, "/admin/failovers/{epoch}/ledger", "GetLedger", Admin, withNumber("epoch", a.getLedger), about{
			tag: tagFailover, summary: "What a promotion put at risk, or left in doubt",
			detail: "A page of JSON; or the whole ledger as CSV, where format or Accept ask for that.",
			parameters: slices.Concat(pageParameters(), []*huma.Param{
				query("format", "The form of the answer.", enum("json", "csv"), "csv"),
			}),
			responses: map[int]response{http.StatusOK: {
				what: "The ledger.", sometimes: []string{"Content-Disposition"}, content: slices.Concat(typeOf[ledgerPage](), bytesOf("text/csv")),
			}},
			fails: fails{
				http.StatusBadRequest: {"InvalidArgument"}, http.StatusNotFound: {"NoSuchFailover"}, http.StatusServiceUnavailable: {"ServiceUnavailable"},
			},
		}},
		{readOnly, "/admin/conflicts", "ListConflicts", Admin, ofGateway(a.getConflicts), about{
			tag: tagConflicts, summary: "Writes that a later one never saw",
			parameters: slices.Concat(pageParameters(), []*huma.Param{query("all", "Whether those are listed too that are resolved.", flagSchema(), "1")}),
			responses:  map[int]response{http.StatusOK: {what: "A page.", content: typeOf[conflictPage]()}},
			fails:      fails{http.StatusBadRequest: {"InvalidArgument"}, http.StatusServiceUnavailable: {"ServiceUnavailable"}},
		}},
		{readOnly, "/admin/conflicts/{id}", "GetConflict", Admin, withNumber("id", a.getConflict), about{
			tag: tagConflicts, summary: "One conflict",
			responses: map[int]response{http.StatusOK: {what: "The conflict.", content: typeOf[conflictBody]()}},
			fails:     fails{http.StatusNotFound: {"NoSuchConflict"}, http.StatusServiceUnavailable: {"ServiceUnavailable"}},
		}},
		{"POST", "/admin/conflicts/{id}/resolve", "ResolveConflict", Admin, withNumber("id", a.resolveConflict), about{
			tag: tagConflicts, summary: "Resolve a conflict",
			takes: jsonNamed(map[string]resolveBody{
				"keep the winner": {Keep: "winner"},
				"keep both":       {Keep: "both", Key: "docs/readme (conflict).md"},
			}),
			responses: map[int]response{http.StatusOK: {what: "The conflict, resolved.", content: typeOf[conflictBody]()}},
			fails: merge(keyFails(), jsonFails(), fails{
				http.StatusNotFound:           {"NoSuchConflict"},
				http.StatusConflict:           {"BucketNotConfigured", "KeyExists", "NotKeptYet", "Resolved", anyOfS3},
				http.StatusPreconditionFailed: {"PreconditionFailed"},
				http.StatusNotImplemented:     {"NotImplemented"},
				http.StatusServiceUnavailable: {"ServiceUnavailable", "NotYetReplicated", "InsufficientStorage"},
			}),
		}},
		{"DELETE", "/admin/regions/{name}", "RemoveRegion", Admin, withName(a.removeRegion), about{
			tag: tagFailover, summary: "Take out a region that never returns", detail: "What it alone had is lost, on the record.",
			parameters: []*huma.Param{query("reason", "For the record.", text(), "burnt down")},
			responses:  map[int]response{http.StatusNoContent: {what: "It is out."}},
			fails: fails{
				http.StatusBadRequest: {"InvalidURI"}, http.StatusConflict: {"NotRemovable"}, http.StatusServiceUnavailable: {"ServiceUnavailable"},
			},
		}},
		{readOnly, "/admin/keys", "ListKeys", Admin, ofGateway(a.getKeys), about{
			tag: tagKeys, summary: "The access keys of S3 clients", detail: "Without their secrets.",
			responses: map[int]response{http.StatusOK: {what: "All of them.", content: typeOf[keysBody]()}},
		}},
		{"POST", "/admin/keys", "CreateKey", Admin, ofGateway(a.createKey), about{
			tag: tagKeys, summary: "Make an access key", detail: "It is in force at once. The answer alone has its secret.",
			takes: optional(jsonNamed(map[string]newKeyBody{
				"bounded": {Name: "website", Role: "read-only", Buckets: []string{exampleBucket}, Prefixes: []string{"docs/"}},
				"plain":   {Name: "backup"},
			})),
			responses: map[int]response{http.StatusCreated: {what: "The key, and its secret.", always: []string{"Cache-Control"}, content: typeOf[issuedKeyBody]()}},
			fails: merge(jsonFails(), fails{
				http.StatusNotFound: {"NoSuchBucket"}, http.StatusServiceUnavailable: {"ServiceUnavailable"},
			}),
		}},
		{"POST", "/admin/keys/{accessKey}/disable", "DisableKey", Admin, withAccessKey(a.disableKey), about{
			tag: tagKeys, summary: "Disable an access key", detail: "No request is let in by it from the answer on, nor by a URL that was presigned with it.",
			responses: map[int]response{http.StatusOK: {what: "The key, disabled.", content: typeOf[keyBody]()}},
			fails:     accessKeyFails(),
		}},
		{"POST", "/admin/keys/{accessKey}/enable", "EnableKey", Admin, withAccessKey(a.enableKey), about{
			tag: tagKeys, summary: "Enable an access key that was disabled",
			responses: map[int]response{http.StatusOK: {what: "The key, enabled.", content: typeOf[keyBody]()}},
			fails:     merge(accessKeyFails(), fails{http.StatusConflict: {"SecretLost"}}),
		}},
		{"POST", "/admin/keys/{accessKey}/rotate", "RotateKey", Admin, withAccessKey(a.rotateKey), about{
			tag: tagKeys, summary: "Give an access key another secret", detail: "The old one is good for nothing from the answer on, which alone has the new one.",
			responses: map[int]response{http.StatusOK: {what: "The key, and its new secret.", always: []string{"Cache-Control"}, content: typeOf[issuedKeyBody]()}},
			fails:     merge(accessKeyFails(), fails{http.StatusConflict: {"Overtaken"}}),
		}},
		{readOnly, "/admin/audit", "ListAudit", Admin, ofGateway(a.getAudit), about{
			tag: tagAdmin, summary: "The audit chain", parameters: pageParameters(),
			responses: map[int]response{http.StatusOK: {what: "A page.", content: typeOf[auditPage]()}},
			fails:     fails{http.StatusBadRequest: {"InvalidArgument"}, http.StatusServiceUnavailable: {"ServiceUnavailable"}},
		}},
		{readOnly, "/healthz", "GetHealth", Open, ofGateway(a.getHealth), about{
			tag: tagMonitoring, summary: "What the probes of the regions found", detail: "Nobody is asked for it, so it never waits.",
			responses: map[int]response{
				http.StatusOK:                 {what: "A region answers.", content: jsonOf(healthBody{"ok", "primary", map[string]string{"primary": "up", "secondary": "up"}})},
				http.StatusServiceUnavailable: {what: "All are down.", content: jsonOf(healthBody{"down", "primary", map[string]string{"primary": "down", "secondary": "down"}})},
			},
		}},
		{readOnly, "/livez", "GetLive", Open, ofGateway(a.getLive), about{
			tag: tagMonitoring, summary: "Whether the gateway runs",
			responses: map[int]response{http.StatusOK: {what: "It does.", content: jsonOf(statusBody{"ok"})}},
		}},
		{readOnly, "/readyz", "GetReady", Open, ofGateway(a.getReady), about{
			tag: tagMonitoring, summary: "Whether the gateway is to be given work",
			responses: map[int]response{http.StatusOK: {what: "It is.", content: jsonOf(statusBody{"ok"})}},
			fails:     fails{http.StatusServiceUnavailable: {"NotReady"}},
		}},
		{readOnly, "/metrics", "GetMetrics", Monitoring, ofGateway(a.getMetrics), about{
			tag: tagMonitoring, summary: "Metrics for Prometheus",
			responses: map[int]response{http.StatusOK: {what: "All of them.", content: slices.Concat(bytesOf("text/plain"), bytesOf("application/openmetrics-text"))}},
		}},
		{readOnly, "/openapi.json", "GetDocument", Open, ofGateway(a.getDocument), about{
			tag: tagDocument, summary: "This document",
			responses: map[int]response{http.StatusOK: {what: "OpenAPI 3.1.", content: typeOf[map[string]any]()}},
		}},
		{readOnly, "/docs", "GetPage", Open, ofGateway(a.getPage), about{
			tag: tagDocument, summary: "This document, to be read", detail: "A page without scripts that loads nothing.",
			responses: map[int]response{http.StatusOK: {what: "HTML.", always: []string{"Content-Security-Policy"}, content: bytesOf("text/html")}},
		}},
	}
}

func (a *API) getMetrics(w http.ResponseWriter, r *http.Request) error {
	a.MetricsHandler.ServeHTTP(w, r)
	return nil
}
