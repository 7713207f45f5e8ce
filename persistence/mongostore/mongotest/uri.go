package mongotest

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// through returns the URI of the same database by way of one host, without
// encryption, compression and the search for other members. The driver's parser is
// not asked to take it apart, as it resolves what it reads.
func through(uri, host string, opts *options.ClientOptions) (string, error) {
	_, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return "", fmt.Errorf("%s is no URI", Env)
	}
	authority, path := rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], "/"+strings.TrimPrefix(rest[i:], "/")
	}
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		host = authority[:i+1] + host
	}
	path, query, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", fmt.Errorf("the query of %s cannot be read", Env)
	}
	dropped := []string{"ssl", "replicaset", "directconnection", "connect", "loadbalanced", "compressors", "zlibcompressionlevel", "zstdcompressionlevel"}
	source := false
	for key := range values {
		lower := strings.ToLower(key)
		source = source || lower == "authsource"
		if slices.Contains(dropped, lower) || strings.HasPrefix(lower, "tls") || strings.HasPrefix(lower, "ssl") || strings.HasPrefix(lower, "srv") {
			values.Del(key)
		}
	}
	values.Set("directConnection", "true")
	if opts.Auth != nil && opts.Auth.AuthSource != "" && !source { // of the DNS record
		values.Set("authSource", opts.Auth.AuthSource)
	}
	return "mongodb://" + host + path + "?" + values.Encode(), nil
}
