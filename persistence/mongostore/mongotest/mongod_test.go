//go:build unix

package mongotest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
)

// fakeMongod returns a directory with a program mongod that is this test's binary.
func fakeMongod(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := "#!/bin/sh\n" + child + `=mongod exec "` + self + `" "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "mongod"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// With a mongod on the PATH there are two servers, and a replica set is one when it
// is handed out.
func TestServersOfMongod(t *testing.T) {
	t.Setenv(mongotest.Env, "")
	t.Setenv("PATH", fakeMongod(t)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	own := &mongotest.Servers{}
	defer own.Stop()
	var names []string
	own.Each(t, func(t *testing.T, s *mongotest.Server) {
		names = append(names, s.Name())
		uri := s.URI(t)
		if got := strings.HasSuffix(uri, "?replicaSet=stabilize"); got != (s.Name() == "replicaset") {
			t.Errorf("the URI is %s", uri)
		}
		if link := s.Link(t).URI(); strings.Contains(link, "replicaSet") || !strings.Contains(link, "directConnection=true") {
			t.Errorf("the link's URI is %s", link)
		}
	})
	if got := strings.Join(names, " "); got != "standalone replicaset" {
		t.Errorf("the servers are %s", got)
	}
}

// beMongod is what a mongod is to whoever starts one: it heeds its arguments, says
// who it is, and becomes a replica set when it is told to.
func beMongod(args []string) error {
	option := map[string]string{}
	for i, arg := range args {
		if value := min(i+1, len(args)-1); strings.HasPrefix(arg, "--") {
			option[arg] = args[value]
		}
	}
	if err := os.WriteFile(filepath.Join(option["--dbpath"], "storage.bson"), nil, 0o600); err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(option["--bind_ip"], option["--port"]))
	if err != nil {
		return err
	}
	var initiated atomic.Bool
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for answerOne(conn, func(command bson.Raw) bson.D {
				first, _ := command.IndexErr(0)
				switch set := option["--replSet"]; {
				case first.Key() == "replSetInitiate" && set != "" && first.Value().Document().Lookup("_id").StringValue() == set:
					initiated.Store(true)
					return bson.D{{Key: "ok", Value: 1}}
				case strings.EqualFold(first.Key(), "isMaster") || first.Key() == "hello":
					return hello(l.Addr().String(), set, initiated.Load())
				case first.Key() == "ping" || first.Key() == "endSessions":
					return bson.D{{Key: "ok", Value: 1}}
				}
				return bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: 59}, {Key: "errmsg", Value: "no such command"}}
			}) == nil {
			}
		}()
	}
}

func hello(me, set string, initiated bool) bson.D {
	primary := set == "" || initiated
	doc := bson.D{
		{Key: "helloOk", Value: true}, {Key: "ismaster", Value: primary}, {Key: "isWritablePrimary", Value: primary},
		{Key: "maxBsonObjectSize", Value: 16 << 20}, {Key: "maxMessageSizeBytes", Value: 48000000}, {Key: "maxWriteBatchSize", Value: 100000},
		{Key: "minWireVersion", Value: 0}, {Key: "maxWireVersion", Value: 21}, {Key: "ok", Value: 1},
	}
	switch {
	case set != "" && initiated:
		doc = append(doc, bson.E{Key: "setName", Value: set}, bson.E{Key: "hosts", Value: bson.A{me}}, bson.E{Key: "me", Value: me}, bson.E{Key: "primary", Value: me})
	case set != "":
		doc = append(doc, bson.E{Key: "isreplicaset", Value: true}, bson.E{Key: "info", Value: "Does not have a valid replica set config"})
	}
	return doc
}

// answerOne reads a command of the two kinds that the driver sends and answers it.
func answerOne(conn net.Conn, f func(command bson.Raw) bson.D) error {
	header := make([]byte, 16)
	if _, err := io.ReadFull(conn, header); err != nil {
		return err
	}
	body := make([]byte, binary.LittleEndian.Uint32(header)-16)
	if _, err := io.ReadFull(conn, body); err != nil {
		return err
	}
	reply := make([]byte, 16, 64)
	copy(reply[8:], header[4:8])
	var command bson.Raw
	switch op := binary.LittleEndian.Uint32(header[12:]); op {
	case 2004: // flags, name of a collection, two numbers, document
		for body = body[4:]; body[0] != 0; body = body[1:] {
		}
		command = bson.Raw(body[9:])
		binary.LittleEndian.PutUint32(reply[12:], 1)
		reply = append(reply, make([]byte, 16)...)
		reply = append(reply, 1, 0, 0, 0)
	case 2013: // flags, kind, document
		command = bson.Raw(body[5:])
		binary.LittleEndian.PutUint32(reply[12:], op)
		reply = append(reply, 0, 0, 0, 0, 0)
	default:
		return fmt.Errorf("operation %d", op)
	}
	doc, err := bson.Marshal(f(command))
	if err != nil {
		return err
	}
	reply = append(reply, doc...)
	binary.LittleEndian.PutUint32(reply, uint32(len(reply)))
	_, err = conn.Write(reply)
	return errors.Join(err)
}
