package graph

import (
	"bytes"
	"encoding/gob"
	"errors"
	"io"
	"net"
	netrpc "net/rpc"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
)

// What a stock transfer sent to a stock graph gets, connection by connection, the same
// replies from ours, and each item that it had is stored.
func TestStockTransfer(t *testing.T) {
	w := start(t, nil)
	files, err := filepath.Glob("testdata/transfer-graph/*.c2s.bin")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".c2s.bin"), func(t *testing.T) {
			request, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			reply, err := os.ReadFile(strings.Replace(file, ".c2s.", ".s2c.", 1))
			if err != nil {
				t.Fatal(err)
			}
			want := gobReplies(t, bytes.NewReader(reply), -1)
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if got := gobReplies(t, conn, len(want)); !slices.Equal(got, want) {
				t.Errorf("replies %+v, stock's %+v", got, want)
			}
			for _, it := range gobItems(t, request) {
				var last model.GraphLastResp
				w.call("Graph.LastRaw", &model.GraphLastParam{Endpoint: it.Endpoint, Counter: model.CounterOf(it.Metric, model.SortedTags(it.Tags))}, &last)
				if it.Timestamp > captureTime+300 {
					// Ours differs: a stock transfer lets the future through, and stock's
					// archive takes nothing more until it has come.
					if last.Value != nil && last.Value.Timestamp >= it.Timestamp {
						t.Errorf("%s of %s at %d is of the future and stored", it.Metric, it.Endpoint, it.Timestamp)
					}
					continue
				}
				if last.Value == nil || last.Value.Timestamp < it.Timestamp {
					t.Errorf("%s of %s at %d is not stored: the last is %+v", it.Metric, it.Endpoint, it.Timestamp, last.Value)
				}
			}
		})
	}
}

type gobReply struct {
	method string
	seq    uint64
	err    string
	code   int
}

// gobReplies reads n replies, -1 until the end, sorted by their calls: those in flight
// together are answered in any order.
func gobReplies(t *testing.T, r io.Reader, n int) (all []gobReply) {
	t.Helper()
	dec := gob.NewDecoder(r)
	for len(all) != n {
		var head netrpc.Response
		var body model.SimpleRpcResponse
		err := dec.Decode(&head)
		if errors.Is(err, io.EOF) && n < 0 {
			break
		}
		if err == nil {
			err = dec.Decode(&body)
		}
		if err != nil {
			t.Fatalf("after %d replies: %v", len(all), err)
		}
		all = append(all, gobReply{head.ServiceMethod, head.Seq, head.Error, body.Code})
	}
	slices.SortFunc(all, func(a, b gobReply) int { return int(a.seq) - int(b.seq) })
	return all
}

// gobItems reads the items of all calls on a connection.
func gobItems(t *testing.T, request []byte) (all []*model.GraphItem) {
	t.Helper()
	dec := gob.NewDecoder(bytes.NewReader(request))
	for {
		var head netrpc.Request
		if err := dec.Decode(&head); err != nil {
			return all
		}
		if head.ServiceMethod != "Graph.Send" {
			if err := dec.Decode(&struct{}{}); err != nil {
				t.Fatalf("%s: %v", head.ServiceMethod, err)
			}
			continue
		}
		var items []*model.GraphItem
		if err := dec.Decode(&items); err != nil {
			t.Fatal(err)
		}
		all = append(all, items...)
	}
}
