// Package mongostore is the store in a MongoDB database, or in one that speaks its
// protocol.
package mongostore
