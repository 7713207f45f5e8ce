package mongoproxy

import "go.mongodb.org/mongo-driver/v2/bson"

// Codes of the errors of a server that is no primary, or none any more. Drivers take
// the server for unknown when they see one, and look for the primary again.
const (
	ShutdownInProgress              = 91
	PrimarySteppedDown              = 189
	NotWritablePrimary              = 10107
	InterruptedAtShutdown           = 11600
	InterruptedDueToReplStateChange = 11602
	NotPrimaryNoSecondaryOk         = 13435
	NotPrimaryOrSecondary           = 13436
)

// LabelRetryable is the label that servers give to errors of retryable writes that
// are worth trying again, once.
const LabelRetryable = "RetryableWriteError"

// Error is the answer to a command that failed: as far as the client can know it was
// not executed.
func Error(code int32, message string, labels ...string) bson.Raw {
	doc := bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: message}, {Key: "code", Value: code}}
	return marshal(withLabels(withName(doc, code), labels))
}

// WriteConcernError is the answer to n writes that were applied and of which the
// server does not know whether they are durable on enough members.
func WriteConcernError(n, code int32, message string, labels ...string) bson.Raw {
	doc := bson.D{{Key: "ok", Value: 1.0}, {Key: "n", Value: n}, {Key: "nModified", Value: n},
		{Key: "writeConcernError", Value: withName(bson.D{{Key: "code", Value: code}, {Key: "errmsg", Value: message}}, code)}}
	return marshal(withLabels(doc, labels))
}

// WriteError is the answer to a write command whose first statement failed.
func WriteError(code int32, message string) bson.Raw {
	return marshal(bson.D{{Key: "ok", Value: 1.0}, {Key: "n", Value: int32(0)}, {Key: "nModified", Value: int32(0)},
		{Key: "writeErrors", Value: bson.A{bson.D{{Key: "index", Value: int32(0)}, {Key: "code", Value: code}, {Key: "errmsg", Value: message}}}}})
}

func withName(doc bson.D, code int32) bson.D {
	names := map[int32]string{
		18: "AuthenticationFailed", 64: "WriteConcernTimeout", 112: "WriteConflict", 11000: "DuplicateKey",
		ShutdownInProgress: "ShutdownInProgress", PrimarySteppedDown: "PrimarySteppedDown",
		NotWritablePrimary: "NotWritablePrimary", InterruptedAtShutdown: "InterruptedAtShutdown",
		InterruptedDueToReplStateChange: "InterruptedDueToReplStateChange",
		NotPrimaryNoSecondaryOk:         "NotPrimaryNoSecondaryOk", NotPrimaryOrSecondary: "NotPrimaryOrSecondary",
	}
	if name, ok := names[code]; ok {
		doc = append(doc, bson.E{Key: "codeName", Value: name})
	}
	return doc
}

func withLabels(doc bson.D, labels []string) bson.D {
	if len(labels) > 0 {
		doc = append(doc, bson.E{Key: "errorLabels", Value: labels})
	}
	return doc
}

func marshal(doc bson.D) bson.Raw {
	raw, err := bson.Marshal(doc)
	if err != nil {
		panic(err) // of numbers and strings only
	}
	return raw
}
